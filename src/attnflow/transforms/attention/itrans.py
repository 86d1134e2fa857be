"""Transformer-based invertible attention."""

from __future__ import annotations

import math
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnflow.context import Context, with_condition
from attnflow.errors import AttnFlowError, check_choice, check_least
from attnflow.transforms.attention.layout import TokenLayout, token_layout
from attnflow.transforms.attention.masks import attention_mask, check_mask
from attnflow.transforms.attention.mixing import MIXINGS, Mixing
from attnflow.transforms.attention.reading import MaskedReading, pairwise_offsets
from attnflow.transforms.base import Transform, full_precision
from attnflow.transforms.pointwise import PointwiseConv, pointwise
from attnflow.utils.arguments import check_type

__all__ = ["ITrans"]

POSITIONS = (False, True, "absolute", "relative")
# alpha = LOWEST_ALPHA + softplus(.) and |gain| <= LARGEST_RATIO alpha: with the values below
# the inverse amplifies by at most 1 / (0.05 * 0.01), and by 1 / 0.01 at alpha = 1.
LOWEST_ALPHA = 0.05
LARGEST_RATIO = 0.99
# A slot's own tokens start with 1 / (1 + exp(-2)) = 0.88 of its weight.
SLOT_LOGIT = 2.0
# Adam moves a parameter by at most its rate a step, and to single out one of many slots takes
# a logit of 5: position logits are this many times their parameters.
SLOT_RATE = 4.0


class ITrans(Transform):
    """``z = W v`` on the transformed half, tokens mixed by attention over the other half.

    ``W = alpha I + diag(g) S``, ``S = softmax(Q K^T / sqrt(d) + b)``, Q and K from M * h

    Generative Flows with Invertible Attentions (2022), the iTrans attention, made
    invertible by construction: alpha > |g| in every row for every parameter value, so W is
    strictly diagonally dominant (see :mod:`~attnflow.transforms.attention.mixing`). Tokens
    are p x p patches; Q and K come from a 1x1 convolution of the masked half. Each head has
    its alpha and its gain g, and mixes its share of a patch's transformed entries;
    ``log_det = sum_heads entries log|det W|``.

    With an odd patch size, a checkerboard transforms an entry in the even or in the odd
    tokens only. Attention then stays among the tokens where the entry is transformed, and
    the Jacobian's blocks are the principal submatrices of W on these tokens.

    Args:
        num_channels: C.
        parity: 0 or 1; alternate it from one attention to the next.
        mask: ``checkerboard``, ``coarse``, ``channel`` or ``spatial``.
        patch_size: p, a divisor of both sides of the feature map.
        num_heads: h, at most the number of transformed entries of a patch.
        variant: how tokens are mixed. ``dense``: every token attends to all, O(T^3).
            ``causal``: to the tokens up to its own, in raster order, O(T^2). ``linear``: to
            all, by way of ``rank`` slots, O(T rank^2); S has that rank at most.
        signed: let g be negative, so that attention can subtract what other tokens
            predict; False is the published form, which averages.
        position_embedding: what attention knows of places; constants, so invertibility is
            untouched, and without them it cannot learn a fixed offset. ``absolute``: a learned
            embedding of every token, added to Q, K and g. ``relative``: a learned bias b of
            every 2-D offset between tokens, and the embedding in g alone; the shortest way to
            a fixed offset, and no choice for ``linear``, which has no logit of a pair of
            tokens; its absolute embedding starts every slot at its own stretch of tokens. True:
            all of these that the variant can hold.
        read_values: also add to the transformed half what attention reads in the values of
            the masked half (:class:`~attnflow.transforms.attention.reading.MaskedReading`):
            ``z = W v + (1 - M) shift(M * h)``. A shift that depends on the masked half alone
            leaves the Jacobian as it is.
        image_size: (H, W) of the feature map; needed with the position embedding and with
            ``read_values``.
        key_channels: width of Q and K at a position and head; the default is C / h,
            at least 4. ``linear`` does not read it.
        rank: of S with ``linear``, the width of its Q and K; no more than the tokens that mix,
            where ``image_size`` is known. No other variant reads it.
        context_channels: width of the condition that Q, K and g may read; 0 for none.
    """

    def __init__(
        self,
        num_channels: int,
        parity: int = 0,
        mask: str = "checkerboard",
        patch_size: int = 2,
        num_heads: int = 1,
        variant: str = "dense",
        signed: bool = True,
        position_embedding: bool | str = False,
        read_values: bool = False,
        image_size: tuple[int, int] | None = None,
        key_channels: int | None = None,
        rank: int = 16,
        context_channels: int = 0,
    ) -> None:
        super().__init__()
        check_mask(mask, parity)
        check_choice("variant", variant, MIXINGS)
        check_choice("position_embedding", position_embedding, POSITIONS)
        check_type("ITrans's key_channels", key_channels, int, type(None))
        sizes = {"patch_size": patch_size, "num_heads": num_heads, "rank": rank}
        for name, value in sizes.items():
            check_type(f"ITrans's {name}", value, int)
            check_least(f"ITrans's {name}", value, 1)
        if key_channels is None:
            key_channels = max(4, num_channels // num_heads)
        check_least("ITrans's key_channels", key_channels, 1)
        # The layout of this size of feature map; those of others are computed when they come.
        self.layout, self.shape = None, (num_channels, *(image_size or ()))
        if image_size is not None:
            self.layout = deepcopy(token_layout(mask, parity, self.shape, patch_size, num_heads))
            rank = min(rank, self.layout.tokens.shape[1])
        self.num_channels, self.parity, self.mask = num_channels, parity, mask
        self.patch_size, self.num_heads, self.variant = patch_size, num_heads, variant
        self.signed, self.context_channels = signed, context_channels
        # Queries, keys and one gate for every head, from one linear map: of the pixels of a patch
        # one by one, which are then laid side by side, or of the whole patch at a low rank.
        self.low_rank = MIXINGS[variant].low_rank
        pixels, width = (patch_size**2, rank) if self.low_rank else (1, key_channels)
        self.features = PointwiseConv(
            (num_channels + context_channels) * pixels, num_heads * (2 * width + 1)
        )
        # A bias of keys adds the same to all logits of a softmax, so its gradient would be rounding
        # noise, which Adam would turn into steps of full length.
        biased = torch.ones(num_heads, 2 * width + 1)
        biased[:, width:-1] = 0
        self.register_buffer("biased", biased.flatten(), persistent=False)
        self.alpha_logit = nn.Parameter(torch.full((num_heads,), math.log(math.expm1(0.95))))
        self.gain_logit = nn.Parameter(torch.full((num_heads,), -0.1 if signed else -2.0))
        self.position = self.offset_bias = None
        if position_embedding:
            self._add_positions(position_embedding, image_size, width * patch_size**2 // pixels)
        self.reading = None
        if read_values:
            check_image_size("read_values", image_size)
            self.reading = MaskedReading(num_channels, image_size, context_channels)

    def _add_positions(
        self, kind: bool | str, image_size: tuple[int, int] | None, width: int
    ) -> None:
        """The parameters of a position embedding of Q and K, ``width`` each, and of g."""
        check_image_size("a position_embedding", image_size)
        biased = kind != "absolute" and not self.low_rank
        if kind == "relative" and not biased:
            raise AttnFlowError(
                f"position_embedding is 'relative', which variant {self.variant!r} cannot hold; "
                "accepted are false, true and absolute, or the variants dense and causal."
            )
        rows, columns = (side // self.patch_size for side in image_size)
        tokens = rows * columns
        parts = [torch.zeros(self.num_heads, tokens, 1)]  # the gain's
        if self.low_rank:
            key = slots_apart(tokens, width).expand(self.num_heads, -1, -1) / SLOT_RATE
            parts = [torch.zeros_like(key), key, *parts]
        elif kind != "relative":
            parts = [torch.randn(self.num_heads, tokens, 2 * width), *parts]
        embedding = torch.cat(parts, -1)
        self.position = nn.Parameter(embedding)
        if biased:
            self.offset_bias = nn.Parameter(
                torch.zeros(self.num_heads, 2 * rows - 1, 2 * columns - 1)
            )
            offsets = self.layout.pairs(pairwise_offsets(rows, columns))
            self.register_buffer("offsets", offsets, persistent=False)

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        layout = self._layout(x)
        with full_precision(x):
            mixing = self._mixing(x, layout, context)
            z = layout.replace(x, mixing.apply(layout.values(x)))
            if self.reading is not None:
                z = z + self._shift(x, context)
            return z, (mixing.log_det() * layout.entries).sum((1, 2))

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        layout = self._layout(z)
        with full_precision(z):
            if self.reading is not None:
                z = z - self._shift(z, context)
            mixing = self._mixing(z, layout, context)
            return layout.replace(z, mixing.solve(layout.values(z)))

    def attention_weights(self, x: Tensor, context: Context | None = None) -> Tensor:
        """S of every group and head: (B, G, h, n, n), rows sum to 1."""
        layout = self._layout(x)
        with full_precision(x):
            return self._mixing(x, layout, context).weights()

    def attention_rows(
        self, x: Tensor, places: Tensor, context: Context | None = None
    ) -> tuple[Tensor, Tensor]:
        """Where the tokens at ``places`` look: rows of S, laid out as the grid of tokens.

        Args:
            x: (B, C, H, W).
            places: (Q, 2), row and column as fractions of the sides; each stands for the nearest
                token that is transformed.

        Returns:
            Weights (B, h, Q, H / p, W / p), NaN at tokens outside the token's group, where the
            others sum to 1; and the tokens' rows and columns, int64 (Q, 2). Of a token in
            several groups, the first group's row is given.
        """
        layout = self._layout(x)
        grid = layout.grid
        valid = torch.ones_like(layout.tokens) if layout.valid is None else layout.valid
        members = [tokens[real.bool()] for tokens, real in zip(layout.tokens, valid, strict=True)]
        transformed = torch.cat(members).unique()
        at = torch.stack([transformed // grid[1], transformed % grid[1]], 1)
        wanted = places.to(x) * torch.tensor(grid).to(x) - 0.5
        tokens = transformed[torch.cdist(wanted, at.to(x)).argmin(1)]
        with full_precision(x):
            mixing = self._mixing(x, layout, context)
            found = []
            for token in tokens:
                group = next(g for g, held in enumerate(members) if (held == token).any())
                row = (members[group] == token).nonzero()[0]
                weights = mixing.weights(row)[:, group, :, 0, : len(members[group])]
                everywhere = weights.new_full((*weights.shape[:2], grid[0] * grid[1]), torch.nan)
                everywhere[..., members[group]] = weights
                found.append(everywhere.unflatten(2, grid))
        return torch.stack(found, 2), torch.stack([tokens // grid[1], tokens % grid[1]], 1)

    def _shift(self, x: Tensor, context: Context | None) -> Tensor:
        """What is added to the transformed half, (B, C, H, W); it reads the masked half alone."""
        mask = attention_mask(self.mask, self.parity, x.shape[1:], x.device)
        return self.reading(x * mask, context) * ~mask

    def _layout(self, x: Tensor) -> TokenLayout:
        if self.layout is not None and tuple(x.shape[1:]) == self.shape:
            return self.layout
        return token_layout(
            self.mask, self.parity, x.shape[1:], self.patch_size, self.num_heads, x.device
        )

    def _mixing(self, x: Tensor, layout: TokenLayout, context: Context | None) -> Mixing:
        query, key, gate = self._features(x, layout, context)
        alpha = (LOWEST_ALPHA + F.softplus(self.alpha_logit))[:, None]
        gate = gate + self.gain_logit[:, None]
        ratio = gate.tanh() if self.signed else gate.sigmoid()
        ratio = LARGEST_RATIO * ratio  # g / alpha
        bias = self._bias()
        return MIXINGS[self.variant](query, key, alpha, ratio, layout.valid, bias)

    def _bias(self) -> Tensor | None:
        """The bias of every pair of tokens of a group: (G, h, n, n)."""
        if self.offset_bias is None:
            return None
        table = self.offset_bias.flatten(1)
        bias = table.gather(1, self.offsets.flatten().expand(len(table), -1))
        return bias.unflatten(1, self.offsets.shape).transpose(0, 1)

    def _features(
        self, x: Tensor, layout: TokenLayout, context: Context | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys (B, G, h, d or rank, n), gates (B, G, h, n), from the masked half."""
        mask = attention_mask(self.mask, self.parity, x.shape[1:], x.device)
        read = with_condition(x * mask, context, self.context_channels)
        patches = layout.patches(read)
        if self.low_rank:
            patches = patches.flatten(1, 2).unsqueeze(2)
        pixels = patches.shape[2]
        bias = (self.features.bias * self.biased)[:, None]
        if self.position is not None:
            bias = bias + self._position(layout, pixels).flatten(1)
        features = pointwise(patches, self.features.weight.flatten(1), bias)
        # (B, h features, pixels, G, n) -> (B, G, h, features pixels, n)
        features = features.unflatten(1, (self.num_heads, -1)).flatten(2, 3).movedim(3, 1)
        # A pixel's gate counts for its share of the patch.
        width = (features.shape[3] - pixels) // 2
        query, key, gate = features.split([width, width, pixels], -2)
        return query, key, gate.squeeze(-2) if pixels == 1 else gate.mean(-2)

    def _position(self, layout: TokenLayout, pixels: int) -> Tensor:
        """The position embedding, laid out as the features: (h features, pixels, G, n)."""
        position = self.position.mT
        if position.shape[2] != math.prod(layout.grid):
            raise AttnFlowError(
                f"ITrans's position embedding is for {position.shape[2]} tokens, but a feature "
                f"map of {layout.size[0]} x {layout.size[1]} has {math.prod(layout.grid)}."
            )
        if self.low_rank:
            position = SLOT_RATE * position
        if pixels > 1:  # each has a gate
            position = torch.cat([position, position[:, -1:].expand(-1, pixels - 1, -1)], 1)
        # A relative position has an embedding of the gate alone.
        missing = self.features.out_channels // self.num_heads * pixels - position.shape[1]
        if missing:
            position = F.pad(position, (0, 0, missing, 0))
        return layout.group(position).flatten(0, 1).unflatten(0, (-1, pixels))

    def extra_repr(self) -> str:
        return (
            f"{self.num_channels}, {self.variant}, mask={self.mask}, parity={self.parity}, "
            f"patch_size={self.patch_size}, num_heads={self.num_heads}, "
            f"{'signed' if self.signed else 'positive'}"
        )


def slots_apart(tokens: int, rank: int) -> Tensor:
    """Logits (T, rank) by which every slot starts as the average of its own stretch of tokens.

    Slots that start alike would have to part before they can tell a fixed offset; from these,
    attention only has to learn which slot to read.
    """
    slot = torch.arange(tokens) * rank // tokens
    return (math.log(rank) + SLOT_LOGIT) * F.one_hot(slot, rank).float()


def check_image_size(option: str, image_size: tuple[int, int] | None) -> None:
    """Raise :class:`AttnFlowError` where ``option`` needs an image size that was not given."""
    if image_size is None:
        raise AttnFlowError(
            f"ITrans with {option} needs image_size, the (height, width) of its feature map; "
            "None was given."
        )
