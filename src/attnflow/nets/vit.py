"""The vision transformer as a coupling net."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from attnflow.context import Context, with_condition
from attnflow.nets.layers import zero_linear
from attnflow.nets.transformer import TransformerBlock, check_transformer

__all__ = ["ViT"]

# Wavelengths of the position features, in sides of the feature map.
WAVELENGTHS = (2.0, 1.0, 0.5, 0.25, 0.125)


class ViT(nn.Module):
    """A transformer over all positions of a feature map, each a token; its last layer starts at 0.

    Dosovitskiy et al., An Image is Worth 16x16 Words (2021), as Jet's coupling net (Kolesnikov
    et al., 2024). A position is told by sines and cosines of its coordinates through a learned
    linear map, which holds for feature maps of any size.

    Args:
        in_channels, out_channels: of the features, (B, C, H, W) before and after.
        width: of a token inside.
        depth: how many blocks of attention and MLP.
        num_heads: of each, a divisor of the width.
        dropout: share of what blocks add that training leaves out.
        context_channels: width of the condition, read beside the features; 0 for none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 64,
        depth: int = 1,
        num_heads: int = 1,
        dropout: float = 0.0,
        context_channels: int = 0,
    ) -> None:
        super().__init__()
        check_transformer(width, depth, num_heads, dropout)
        self.context_channels = context_channels
        self.embedding = nn.Linear(in_channels + context_channels, width)
        self.positions = nn.Linear(4 * len(WAVELENGTHS), width, bias=False)
        self.blocks = nn.Sequential(
            *(TransformerBlock(width, num_heads, False, dropout) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(width)
        self.out = zero_linear(width, out_channels)

    def forward(self, features: Tensor, context: Context | None = None) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        size = features.shape[2:]
        tokens = with_condition(features, context, self.context_channels).flatten(2).mT
        places = position_features(*size).to(tokens)
        h = self.blocks(self.embedding(tokens) + self.positions(places))
        return self.out(self.norm(h)).mT.unflatten(2, size).contiguous()


def position_features(height: int, width: int) -> Tensor:
    """Sines and cosines of the middle of every position, row by row: (H W, 4 wavelengths)."""
    frequencies = 2 * math.pi / torch.tensor(WAVELENGTHS)
    sides = [(torch.arange(side) + 0.5) / side for side in (height, width)]
    rows, columns = (side[:, None] * frequencies for side in sides)
    rows = torch.cat([rows.sin(), rows.cos()], 1)[:, None].expand(-1, width, -1)
    columns = torch.cat([columns.sin(), columns.cos()], 1)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], 2).flatten(0, 1)
