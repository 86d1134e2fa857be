"""Rotary positions: queries and keys turned by where their tokens stand."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from attnflow.errors import ArgumentError

__all__ = ["RotaryPositions"]


class RotaryPositions(nn.Module):
    """Turns pairs of a query's or key's values by angles that grow with the row, or the column.

    A product of a turned query and a turned key depends on positions by their difference alone:
    what is learned of two tokens holds for all that stand alike. Su et al., RoFormer (2021); half
    of the pairs turn with rows and half with columns, as in Heo et al., Rotary Position Embedding
    for Vision Transformer (2024). A turn takes from two tokens to twice the longer side.

    Args:
        grid: rows and columns of the T tokens, which are numbered row by row.
        head_width: d, values of a query, a multiple of 4.

    Raises:
        ArgumentError: another width.
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self, grid: tuple[int, int], head_width: int) -> None:
        super().__init__()
        if head_width % 4:
            expected = "a multiple of 4 in each head, where positions are rotary"
            raise ArgumentError("width", expected, f"{head_width} in each")
        rows, columns = grid
        frequencies = torch.linspace(1 / max(grid), 1, head_width // 4) * math.pi
        row = torch.arange(rows).repeat_interleave(columns)
        column = torch.arange(columns).repeat(rows)
        angles = torch.cat([row[:, None] * frequencies, column[:, None] * frequencies], 1)
        angles = angles.to(torch.get_default_device())
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)

    def forward(self, heads: Tensor, places: slice) -> Tensor:
        """Turn queries or keys (B, heads, n, d) of the tokens at n places."""
        first, second = heads.chunk(2, -1)
        cosine, sine = self.cosine[places].to(heads.dtype), self.sine[places].to(heads.dtype)
        turned = first * cosine - second * sine, first * sine + second * cosine
        return torch.cat(turned, -1)
