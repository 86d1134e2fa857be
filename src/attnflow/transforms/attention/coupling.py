"""An additive coupling by attention: one half receives what attention reads in the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnflow.context import Context
from attnflow.nets.layers import zero_conv
from attnflow.transforms.attention.base import MaskedTransform
from attnflow.transforms.attention.positions import OffsetBias
from attnflow.transforms.base import full_precision, zero_log_det

__all__ = ["AttentionCoupling"]

HIDDEN_CHANNELS = 64
KEY_CHANNELS = 8
# Radians per unit of the (about standardised) values; the highest resolve 64 grey levels.
FREQUENCIES = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class AttentionCoupling(MaskedTransform):
    """``z = x + (1 - M) * shift(M * x)``; volume is kept: log_det is 0.

    ``shift_t = out(sum_s softmax_s(q_t k_s / sqrt(d) + b) f(x_s))`` over positions s and t

    Ordinary attention, whose queries, keys and values come from the masked half, f a small net,
    out from zero. A shift leaves the values that are read as they are, so f may bend them in any
    way, where the mixing of an :class:`ITrans` must stay linear to be invertible. Queries and keys
    hold a learned embedding of every position, the logits a learned bias b of every 2-D offset.

    Args:
        num_channels, image_size, parity, mask, context_channels: as for every
            :class:`MaskedTransform`.
    """

    def __init__(
        self,
        num_channels: int,
        image_size: Sequence[int],
        parity: int = 0,
        mask: str = "checkerboard",
        context_channels: int = 0,
    ) -> None:
        super().__init__(num_channels, image_size, parity, mask, context_channels)
        height, width = image_size
        channels = num_channels + context_channels
        self.position = nn.Parameter(torch.randn(2 * KEY_CHANNELS, height, width))
        self.offset_bias = OffsetBias(1, height, width)
        self.query_key = nn.Conv2d(channels, 2 * KEY_CHANNELS, 1)
        self.values = nn.Sequential(
            FourierFeatures(channels),
            nn.Conv2d(channels * (1 + 2 * len(FREQUENCIES)), HIDDEN_CHANNELS, 1),
            nn.SiLU(),
            nn.Conv2d(HIDDEN_CHANNELS, HIDDEN_CHANNELS, 1),
            nn.SiLU(),
        )
        self.out = zero_conv(HIDDEN_CHANNELS, num_channels, 1)

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        return x + self._shift(x, context), zero_log_det(x)

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        return z - self._shift(z, context)

    def _shift(self, x: Tensor, context: Context | None) -> Tensor:
        """The shift of every value, zero where the mask reads: (B, C, H, W)."""
        with full_precision(x):
            read = self.read(x, context)
            query_key = (self.query_key(read) + self.position).flatten(2).transpose(1, 2)
            query, key = query_key.chunk(2, -1)
            values = self.values(read).flatten(2).transpose(1, 2)
            bias = self.offset_bias().squeeze(0).expand(len(read), -1, -1)
            found = F.scaled_dot_product_attention(query, key, values, attn_mask=bias)
            shift = self.out(found.transpose(1, 2).unflatten(2, self.mask.shape[1:]))
            return shift * ~self.mask


class FourierFeatures(nn.Module):
    """Every channel beside its sines and cosines: (B, C, H, W) -> (B, C (1 + 2 F), H, W).

    Which grey level's bin a dequantized value lies in is a staircase of the value, too steep
    for a small net to find without high frequencies (Tancik et al., 2020). They are learned.
    """

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.tensor(FREQUENCIES).repeat(num_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        angles = (x.unsqueeze(2) * self.frequency[..., None, None]).flatten(1, 2)
        return torch.cat([x, angles.sin(), angles.cos()], 1)
