"""What the transformed half of an image receives from the half that attention reads."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnflow.context import Context, with_condition
from attnflow.nets.layers import zero_conv

__all__ = ["MaskedReading", "pairwise_offsets"]

HIDDEN_CHANNELS = 64
KEY_CHANNELS = 8
# In radians a unit of the (about standardised) values; the highest tell apart 64 grey levels.
FREQUENCIES = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class MaskedReading(nn.Module):
    """Ordinary attention, keys and values from one half: a shift for the other, from zero.

    ``shift_t = out(sum_s softmax_s(q_t k_s / sqrt(d) + b) f(h_s))`` over positions s and t,
    f a small net. It reads values that a shift leaves as they are, so it may bend them in any
    way, where the mixing of the transformed half must stay linear to be invertible.

    Args:
        num_channels: C.
        image_size: (H, W) of the feature map; queries and keys hold a learned embedding of every
            position, the logits a learned bias b of every 2-D offset.
        context_channels: width of the condition that is read beside the half; 0 for none.
    """

    def __init__(
        self, num_channels: int, image_size: tuple[int, int], context_channels: int = 0
    ) -> None:
        super().__init__()
        height, width = image_size
        self.image_size, self.context_channels = tuple(image_size), context_channels
        channels = num_channels + context_channels
        self.query_key = nn.Conv2d(channels, 2 * KEY_CHANNELS, 1)
        self.values = nn.Sequential(
            FourierFeatures(channels),
            nn.Conv2d(channels * (1 + 2 * len(FREQUENCIES)), HIDDEN_CHANNELS, 1),
            nn.SiLU(),
            nn.Conv2d(HIDDEN_CHANNELS, HIDDEN_CHANNELS, 1),
            nn.SiLU(),
        )
        self.out = zero_conv(HIDDEN_CHANNELS, num_channels, 1)
        self.position = nn.Parameter(torch.randn(2 * KEY_CHANNELS, height, width))
        self.offset_bias = nn.Parameter(torch.zeros((2 * height - 1) * (2 * width - 1)))
        self.register_buffer("offsets", pairwise_offsets(height, width), persistent=False)

    def forward(self, read: Tensor, context: Context | None = None) -> Tensor:
        """The shift of every value, (B, C, H, W), from the masked half of the same shape."""
        read = with_condition(read, context, self.context_channels)
        query_key = (self.query_key(read) + self.position).flatten(2).transpose(1, 2)
        values = self.values(read).flatten(2).transpose(1, 2)
        bias = self.offset_bias[self.offsets].expand(len(read), -1, -1)
        found = F.scaled_dot_product_attention(*query_key.chunk(2, -1), values, attn_mask=bias)
        return self.out(found.transpose(1, 2).unflatten(2, self.image_size))


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


def pairwise_offsets(rows: int, columns: int) -> Tensor:
    """The number of the 2-D offset between every two tokens of a grid: int64, (T, T)."""
    row = torch.arange(rows).repeat_interleave(columns)
    column = torch.arange(columns).repeat(rows)
    down = row[:, None] - row[None, :] + rows - 1
    right = column[:, None] - column[None, :] + columns - 1
    return down * (2 * columns - 1) + right
