"""Transformers over tokens: pre-norm blocks, and the causal one of autoregressive flows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnflow.errors import ArgumentError, check_count
from attnflow.nets.dropout import SharedDropout
from attnflow.nets.layers import check_dropout, zero_linear
from attnflow.nets.rotary import RotaryPositions

__all__ = ["Cache", "CausalTransformer", "TransformerBlock"]

# The keys and values of the tokens so far, of every block: (blocks, 2, B, heads, T, d).
Cache = Tensor
WIDENING = 4  # of the hidden layer of a block, over its width


class SelfAttention(nn.Module):
    """``out(softmax(q k^T / sqrt(d)) v)`` of tokens (B, T, width).

    Args:
        width: of a token, a multiple of ``num_heads``.
        num_heads: each head has a share of the width.
        causal: a token reads itself and the ones before it alone.
        positions: turn queries and keys; None for none.
    """

    def __init__(
        self, width: int, num_heads: int, causal: bool, positions: RotaryPositions | None = None
    ) -> None:
        super().__init__()
        self.num_heads, self.causal, self.positions = num_heads, causal, positions
        self.query_key_value = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        query, key, value = self._heads(h, slice(0, h.shape[1]))
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self._out(mixed)

    def step(self, h: Tensor, places: slice, cache: Tensor) -> Tensor:
        """What :meth:`forward` gives the tokens at some places, those before being in ``cache``.

        Args:
            h: the tokens, (B, n, width).
            places: n in a row, of the order.
            cache: keys and values, (2, B, heads, T, d); the tokens' own are written to it.
        """
        query, key, value = self._heads(h, places)
        cache[0, :, :, places], cache[1, :, :, places] = key, value
        keys, values = cache[:, :, :, : places.stop]
        mask = None  # a token alone reads all that are there
        if self.causal and h.shape[1] > 1:
            size = (h.shape[1], places.stop)
            mask = torch.ones(size, dtype=torch.bool, device=h.device).tril(places.start)
        return self._out(F.scaled_dot_product_attention(query, keys, values, mask))

    def weights(self, h: Tensor) -> Tensor:
        """How much each token reads of each: (B, heads, T, T), rows that sum to 1."""
        query, key, _ = self._heads(h, slice(0, h.shape[1]))
        logits = query @ key.mT * query.shape[-1] ** -0.5
        if self.causal:
            later = torch.ones(logits.shape[-2:], dtype=torch.bool, device=h.device).triu(1)
            logits = logits.masked_fill(later, -torch.inf)
        return logits.softmax(-1)

    def _heads(self, h: Tensor, places: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of the tokens at n places, (B, heads, n, d) each."""
        heads = self.query_key_value(h).unflatten(2, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        if self.positions is not None:
            query, key = self.positions(query, places), self.positions(key, places)
        return query, key, value

    def _out(self, mixed: Tensor) -> Tensor:
        return self.projection(mixed.transpose(1, 2).flatten(2))


class ConditionedNorm(nn.LayerNorm):
    """Layer normalisation whose scale and shift a condition moves, by a linear map from zero.

    Peebles and Xie, Scalable Diffusion Models with Transformers (2023), call it adaptive.

    Args:
        width: of a token.
        context_channels: width of the condition; 0 for none.
    """

    def __init__(self, width: int, context_channels: int = 0) -> None:
        super().__init__(width)
        self.moves = zero_linear(context_channels, 2 * width) if context_channels else None

    def forward(self, input: Tensor, condition: Tensor | None = None) -> Tensor:
        """Normalise tokens (B, n, width), each under its own condition (B, n, context_channels)."""
        h = super().forward(input)
        if self.moves is None or condition is None:
            return h
        scale, shift = self.moves(condition).chunk(2, -1)
        return h * (1 + scale) + shift


class TransformerBlock(nn.Module):
    """``h = h + attention(norm(h))``, then ``h = h + mlp(norm(h))``, of tokens (B, T, width).

    Pre-norm: Xiong et al., On Layer Normalization in the Transformer Architecture (2020).

    Args:
        width, num_heads, causal, positions: of the attention.
        dropout: share of what both parts add that training leaves out.
        context_channels: width of the condition that moves both norms; 0 for none.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        causal: bool,
        dropout: float = 0.0,
        positions: RotaryPositions | None = None,
        context_channels: int = 0,
    ) -> None:
        super().__init__()
        self.attention_norm = ConditionedNorm(width, context_channels)
        self.mlp_norm = ConditionedNorm(width, context_channels)
        self.attention = SelfAttention(width, num_heads, causal, positions)
        self.mlp = nn.Sequential(
            nn.Linear(width, WIDENING * width), nn.GELU(), nn.Linear(WIDENING * width, width)
        )
        self.dropout = SharedDropout(dropout) if dropout else nn.Identity()

    def forward(self, h: Tensor, condition: Tensor | None = None) -> Tensor:
        read = self.attention(self.attention_norm(h, condition))
        return self._rest(h, read, condition)

    def step(
        self, h: Tensor, places: slice, cache: Tensor, condition: Tensor | None = None
    ) -> Tensor:
        """The tokens at some places, (B, n, width); as :meth:`SelfAttention.step`."""
        read = self.attention.step(self.attention_norm(h, condition), places, cache)
        return self._rest(h, read, condition)

    def _rest(self, h: Tensor, read: Tensor, condition: Tensor | None) -> Tensor:
        h = h + self.dropout(read)
        return h + self.dropout(self.mlp(self.mlp_norm(h, condition)))


class CausalTransformer(nn.Module):
    """Features of every token of a grid, read from the tokens before it alone.

    Token i's input is what stands near it and before it in the order, a linear map of all that,
    the embedding of place i, and the condition of token i. Blocks of causal attention, whose norms
    the condition moves, and a linear layer that starts at zero follow. Zhai et al., Normalizing
    Flows are Capable Generative Models (2024), read the token before alone (``reach=0``), and
    nothing for the first token, to which the embedding of its place is here what a start token is
    in Gu et al., STARFlow (2025).

    Args:
        in_features: of a token.
        out_features: of what is read for it.
        grid: rows and columns, of tokens that are read row by row.
        width: of a token inside.
        depth: how many blocks.
        num_heads: of each, a divisor of the width.
        reach: how many rows and columns away tokens are near; 0 for the one before alone.
        rotary: whether queries and keys are also turned by their places, so that what is learned
            of two tokens holds for all pairs that stand alike.
        dropout: share of what blocks add that training leaves out.
        waves: frequencies, in cycles a unit, whose sine and cosine of each value are read beside
            it.
        context_channels: width of the condition; 0 for none.
    """

    near: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        grid: tuple[int, int],
        width: int = 64,
        depth: int = 1,
        num_heads: int = 1,
        reach: int = 1,
        rotary: bool = False,
        dropout: float = 0.0,
        waves: Sequence[float] = (),
        context_channels: int = 0,
    ) -> None:
        super().__init__()
        check_transformer(width, depth, num_heads, dropout)
        check_count("reach", reach, least=0)
        self.waves = tuple(waves)
        near = tokens_near(*grid, reach).to(torch.get_default_device())
        self.register_buffer("near", near + 1, persistent=False)
        num_features = near.shape[1] * in_features
        self.embedding = nn.Linear(num_features, width, bias=False)
        # Apart, so that many waves do not make the values' first weights small.
        self.wave_embedding = None
        if self.waves:
            self.wave_embedding = nn.Linear(2 * len(self.waves) * num_features, width, bias=False)
        self.positions = nn.Parameter(torch.randn(len(near), width) * 0.02)
        self.condition = nn.Linear(context_channels, width) if context_channels else None
        turned = RotaryPositions(grid, width // num_heads) if rotary else None
        self.blocks = nn.ModuleList(
            TransformerBlock(width, num_heads, True, dropout, turned, context_channels)
            for _ in range(depth)
        )
        self.norm = ConditionedNorm(width, context_channels)
        self.out = zero_linear(width, out_features)

    def forward(self, tokens: Tensor, condition: Tensor | None = None) -> Tensor:
        """Map (B, n, in_features) to (B, n, out_features), n up to T.

        Args:
            tokens: the first n tokens, in order; the last is not read.
            condition: of every token, (B, T, context_channels), or None.
        """
        h, condition = self._inputs(tokens, slice(0, tokens.shape[1]), condition)
        for block in self._blocks():
            h = block(h, condition)
        return self.out(self.norm(h, condition))

    def cache(self, rows: int) -> Cache:
        """Room for the keys and values of T tokens of ``rows`` samples."""
        blocks = self._blocks()
        heads = blocks[0].attention.num_heads
        num_tokens, width = self.positions.shape
        return self.out.weight.new_empty(len(blocks), 2, rows, heads, num_tokens, width // heads)

    def step(
        self, tokens: Tensor, places: slice, cache: Cache, condition: Tensor | None = None
    ) -> Tensor:
        """What :meth:`forward` gives the tokens at n places, (B, n, out_features).

        Args:
            tokens: (B, T, in_features), of which those before each are read.
            places: n in a row, from 0; all before them have been asked for.
            cache: of :meth:`cache`, which is written to.
            condition: of every token, (B, T, context_channels), or None.
        """
        h, condition = self._inputs(tokens, places, condition)
        for block, kept in zip(self._blocks(), cache, strict=True):
            h = block.step(h, places, kept, condition)
        return self.out(self.norm(h, condition))

    def weights(self, tokens: Tensor, condition: Tensor | None = None) -> list[Tensor]:
        """How much each token reads of each, in every block: (B, heads, n, n), rows sum to 1.

        Arguments are those of :meth:`forward`. What is read of a token is its input: what stands
        near it and before it.
        """
        h, condition = self._inputs(tokens, slice(0, tokens.shape[1]), condition)
        found = []
        for block in self._blocks():
            found.append(block.attention.weights(block.attention_norm(h, condition)))
            h = block(h, condition)
        return found

    def _inputs(
        self, tokens: Tensor, places: slice, condition: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """What the blocks read of the tokens at n places: (B, n, width), and their condition."""
        # Zeros first, which stand where no token is near.
        known = F.pad(tokens[:, : places.stop], (0, 0, 1, 0))
        index = self.near[places]
        near = known.index_select(1, index.flatten()).view(len(tokens), len(index), -1)
        h = self.embedding(near) + self.positions[places]
        if self.wave_embedding is not None:
            angles = torch.cat([near * (2 * math.pi * wave) for wave in self.waves], 2)
            h = h + self.wave_embedding(torch.cat([angles.sin(), angles.cos()], 2))
        if self.condition is None or condition is None:
            return h, None
        condition = condition[:, places]
        return h + self.condition(condition), condition

    def _blocks(self) -> list[TransformerBlock]:
        return cast(list[TransformerBlock], list(self.blocks))


def tokens_near(rows: int, columns: int, reach: int) -> Tensor:
    """The tokens before each one that are near, the one right before last: int64 (T, n).

    -1 stands where there is none.

    Args:
        rows, columns: of the grid, which is read row by row.
        reach: how many rows and columns away; 0 for the token before alone, wherever it stands.
    """
    offsets = [(-r, c) for r in range(reach, 0, -1) for c in range(-reach, reach + 1)]
    offsets += [(0, -c) for c in range(reach, 1, -1)]
    numbers = torch.arange(rows * columns)
    near = [number_at(numbers, *offset, columns) for offset in offsets]
    return torch.stack([*near, numbers - 1], 1)


def number_at(numbers: Tensor, down: int, right: int, columns: int) -> Tensor:
    """The numbers of the tokens that stand ``down`` rows and ``right`` columns from others."""
    row, column = numbers // columns + down, numbers % columns + right
    inside = (row >= 0) & (column >= 0) & (column < columns)
    return torch.where(inside, row * columns + column, -1)


def check_transformer(width: int, depth: int, num_heads: int, dropout: float) -> None:
    """Raise :class:`AttnFlowError` for no size of a transformer, or heads of unequal widths."""
    check_count("width", width)
    check_count("depth", depth)
    check_count("num_heads", num_heads)
    if width % num_heads:
        raise ArgumentError("num_heads", f"a divisor of the width, {width}", num_heads)
    check_dropout(dropout)
