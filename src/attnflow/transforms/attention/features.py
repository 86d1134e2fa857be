"""Queries, keys and gates of tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnflow.transforms.attention.layout import TokenLayout
from attnflow.transforms.attention.positions import PositionEmbedding
from attnflow.transforms.pointwise import PointwiseLinear, pointwise

__all__ = ["TokenFeatures"]


class TokenFeatures(nn.Module):
    """``(Q, K, gate) = W h + b``, one linear map for the tokens of all places.

    Either of the pixels of a patch one by one, which are then laid side by side, or of the whole
    patch at once, which allows for fewer features.

    Args:
        in_channels: C of the half that is read, with its condition.
        num_heads: h.
        width: of queries and keys, of a pixel or of a whole patch.
        patch_size: p.
        whole: read whole patches.
    """

    biased: Tensor

    def __init__(
        self, in_channels: int, num_heads: int, width: int, patch_size: int, whole: bool
    ) -> None:
        super().__init__()
        self.num_heads, self.whole = num_heads, whole
        # How many sets of features a token has.
        self.sets = 1 if whole else patch_size**2
        self.width = self.sets * width
        pixels = patch_size**2 // self.sets
        self.linear = PointwiseLinear(in_channels * pixels, num_heads * (2 * width + 1))
        # A bias of keys adds the same to all logits of a softmax, so its gradient would be rounding
        # noise, which Adam would turn into steps of full length.
        biased = torch.ones(num_heads, 2 * width + 1)
        biased[:, width:-1] = 0
        self.register_buffer("biased", biased.flatten(), persistent=False)

    def forward(
        self, read: Tensor, layout: TokenLayout, positions: PositionEmbedding | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys (B, G, h, width, n), gates (B, G, h, n), from (B, C, H, W)."""
        patches = layout.patches(read)
        if self.whole:
            patches = patches.flatten(1, 2).unsqueeze(2)
        bias = (self.linear.bias * self.biased)[:, None]
        if positions is not None:
            added = positions.features(layout, self.sets)  # (h, 2 width + sets, G, n)
            bias = bias + added.flatten(0, 1).flatten(1).view(len(bias), -1)
        features = pointwise(patches, self.linear.weight, bias)
        # (B, h features, sets, G, n) -> (B, G, h, features sets, n)
        features = features.unflatten(1, (self.num_heads, -1)).flatten(2, 3).movedim(3, 1)
        query, key, gate = features.split([self.width, self.width, self.sets], -2)
        # A pixel's gate counts for its share of the patch.
        return query, key, gate.mean(-2)
