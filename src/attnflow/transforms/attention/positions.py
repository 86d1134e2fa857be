"""Position embeddings and biases of the tokens of an attention.

Positions are constants: they depend on no value, so invertibility is untouched. Without them an
attention cannot learn a fixed offset.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnflow.errors import AttnFlowError
from attnflow.transforms.attention.layout import TokenLayout

__all__ = ["POSITIONS", "OffsetBias", "PositionEmbedding", "pairwise_offsets"]

POSITIONS = ("none", "absolute", "relative", "both")
# A slot's own tokens start with 1 / (1 + exp(-2)) = 0.88 of its weight.
SLOT_LOGIT = 2.0
# Adam moves a parameter by at most its rate a step, and to single out one of many slots takes
# a logit of 5: position logits are this many times their parameters.
SLOT_RATE = 4.0


class OffsetBias(nn.Module):
    """A learned bias of every 2-D offset between two tokens, from zero: b of T x T logits.

    Args:
        num_heads: h, each with biases of its own.
        rows, columns: of the grid of tokens.
        layout: deals the tokens out to G groups of n; by default all are in one.
    """

    offsets: Tensor

    def __init__(
        self, num_heads: int, rows: int, columns: int, layout: TokenLayout | None = None
    ) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(num_heads, (2 * rows - 1) * (2 * columns - 1)))
        offsets = pairwise_offsets(rows, columns)
        offsets = offsets[None] if layout is None else layout.pairs(offsets)
        self.register_buffer("offsets", offsets, persistent=False)

    def forward(self) -> Tensor:
        """The bias of every pair of tokens of a group: (G, h, n, n)."""
        index = self.offsets.flatten().expand(len(self.table), -1)
        return self.table.gather(1, index).unflatten(1, self.offsets.shape).transpose(0, 1)


class PositionEmbedding(nn.Module):
    """A learned embedding of every token, for its queries, keys and gates, or a bias of offsets.

    - ``absolute``: an embedding in queries, keys and gates;
    - ``relative``: a bias of every offset between tokens (:class:`OffsetBias`), and an embedding
      in the gates alone; the shortest way to a fixed offset;
    - ``both``: the two together.

    Args:
        kind: one of these.
        layout: of the tokens.
        num_heads: h.
        width: of queries and keys, d.
        slots: whether queries and keys are logits of d slots, as those of
            :class:`~attnflow.transforms.attention.mixing.LinearMixing`: they take ``absolute``
            alone, as no logit belongs to a pair of tokens, and every slot starts at its own
            stretch of tokens.
    """

    def __init__(
        self, kind: str, layout: TokenLayout, num_heads: int, width: int, slots: bool
    ) -> None:
        super().__init__()
        if slots and kind != "absolute":
            raise AttnFlowError(
                f"position_embedding: expected none or absolute with variant linear, which has no "
                f"logit of a pair of tokens, got {kind!r}."
            )
        tokens = math.prod(layout.grid)
        self.width, self.rate = width, SLOT_RATE if slots else 1.0
        gate = torch.zeros(num_heads, tokens, 1)
        parts = [gate]
        if slots:
            key = slots_apart(tokens, width).expand(num_heads, -1, -1) / SLOT_RATE
            parts = [torch.zeros_like(key), key, gate]
        elif kind != "relative":
            parts = [torch.randn(num_heads, tokens, 2 * width), gate]
        self.position = nn.Parameter(torch.cat(parts, -1))
        self.offset_bias = None
        if kind != "absolute":
            self.offset_bias = OffsetBias(num_heads, *layout.grid, layout)

    def features(self, layout: TokenLayout, gates: int) -> Tensor:
        """The embedding of d query, d key and ``gates`` gate features: (h, 2 d + gates, G, n)."""
        position = self.rate * self.position.mT
        features, gate = position[:, :-1], position[:, -1:].expand(-1, gates, -1)
        missing = 2 * self.width - features.shape[1]
        return layout.group(torch.cat([F.pad(features, (0, 0, missing, 0)), gate], 1))

    def bias(self) -> Tensor | None:
        """The bias added to the logit of each pair of tokens: (G, h, n, n)."""
        return None if self.offset_bias is None else self.offset_bias()


def pairwise_offsets(rows: int, columns: int) -> Tensor:
    """The number of the 2-D offset between every two tokens of a grid: int64, (T, T)."""
    row = torch.arange(rows).repeat_interleave(columns)
    column = torch.arange(columns).repeat(rows)
    down = row[:, None] - row[None, :] + rows - 1
    right = column[:, None] - column[None, :] + columns - 1
    return down * (2 * columns - 1) + right


def slots_apart(tokens: int, rank: int) -> Tensor:
    """Logits (T, rank) by which every slot starts as the average of its own stretch of tokens.

    Slots that start alike would have to part before they can tell a fixed offset; from these,
    attention only has to learn which slot to read.
    """
    slot = torch.arange(tokens) * rank // tokens
    return (math.log(rank) + SLOT_LOGIT) * F.one_hot(slot, rank).float()
