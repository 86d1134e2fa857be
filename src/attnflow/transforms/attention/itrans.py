"""Transformer-based invertible attention."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnflow.context import Context
from attnflow.errors import AttnFlowError, check_choice, check_count
from attnflow.transforms.attention.base import MaskedTransform
from attnflow.transforms.attention.features import TokenFeatures
from attnflow.transforms.attention.layout import TokenLayout
from attnflow.transforms.attention.masks import attention_mask
from attnflow.transforms.attention.mixing import MIXINGS, Mixing
from attnflow.transforms.attention.positions import POSITIONS, PositionEmbedding
from attnflow.transforms.base import full_precision

__all__ = ["ITrans"]

# alpha = LOWEST_ALPHA + softplus(.) and |gain| <= LARGEST_RATIO alpha: with the values below
# the inverse amplifies by at most 1 / (0.05 * 0.01), and by 1 / 0.01 at alpha = 1.
LOWEST_ALPHA = 0.05
LARGEST_RATIO = 0.99


class ITrans(MaskedTransform):
    """``z = W v`` on the transformed half, tokens mixed by attention over the other half.

    ``W = alpha I + diag(g) S``, ``S = softmax(Q K^T / sqrt(d) + b)``, Q, K and g from M * h

    Generative Flows with Invertible Attentions (2022), the iTrans attention, made invertible by
    construction: ``alpha > |g|`` in every row for every parameter value, so W is strictly
    diagonally dominant (:mod:`~attnflow.transforms.attention.mixing`). Tokens are p x p patches
    (:mod:`~attnflow.transforms.attention.layout`). Each head mixes its share of a patch's
    transformed entries: ``log_det = sum_heads entries log|det W|``. Where an odd p parts the
    tokens into two groups, each group has an S and a W of its own.

    Args:
        num_channels, image_size, parity, mask, context_channels: as for every
            :class:`MaskedTransform`.
        patch_size: p, a divisor of both sides of the feature map.
        num_heads: h, at most the number of transformed entries of a patch.
        variant: ``dense``: every token attends to all, O(T^3). ``causal``: to the tokens up to its
            own, in raster order, O(T^2). ``linear``: to all by way of ``rank`` slots, O(T rank^2).
        signed: let g be negative, so that attention can subtract what other tokens predict; False
            is the published form, which averages.
        position_embedding: ``none``, ``absolute``, ``relative`` or ``both``, of
            :class:`PositionEmbedding`; ``linear`` takes one of the first two.
        key_channels: width of Q and K at a position and head, by default C / h and at least 4; not
            read by ``linear``.
        rank: of S with ``linear``, at most the number of tokens that mix; read by no other variant.

    Example:
        >>> attention = ITrans(4, image_size=(8, 8), num_heads=2)
        >>> x = torch.randn(2, 4, 8, 8)
        >>> z, log_det = attention(x)
        >>> z.shape, log_det.shape
        (torch.Size([2, 4, 8, 8]), torch.Size([2]))
        >>> torch.allclose(attention.inverse(z), x, atol=1e-4)
        True
    """

    unread: Tensor | None

    def __init__(
        self,
        num_channels: int,
        image_size: Sequence[int],
        parity: int = 0,
        mask: str = "checkerboard",
        patch_size: int = 2,
        num_heads: int = 1,
        variant: str = "dense",
        signed: bool = True,
        position_embedding: str = "none",
        key_channels: int | None = None,
        rank: int = 16,
        context_channels: int = 0,
    ) -> None:
        super().__init__(num_channels, image_size, parity, mask, context_channels)
        check_choice("variant", variant, MIXINGS)
        check_position_embedding(position_embedding)
        check_count("patch_size", patch_size)
        check_count("num_heads", num_heads)
        check_count("rank", rank)
        if key_channels is None:
            key_channels = max(4, num_channels // num_heads)
        check_count("key_channels", key_channels)
        self.patch_size, self.num_heads = patch_size, num_heads
        self.variant, self.signed = variant, signed
        read = attention_mask(mask, parity, (num_channels, *image_size))
        self.layout = TokenLayout(read, patch_size, num_heads)
        tokens = self.layout.tokens.shape[1]
        low_rank = MIXINGS[variant].low_rank
        self.alpha_logit = nn.Parameter(torch.full((num_heads,), math.log(math.expm1(0.95))))
        self.gain_logit = nn.Parameter(torch.full((num_heads,), -0.1 if signed else -2.0))
        width = min(rank, tokens) if low_rank else key_channels
        features = TokenFeatures(
            num_channels + context_channels, num_heads, width, patch_size, whole=low_rank
        )
        self.positions = None
        if position_embedding != "none":
            self.positions = PositionEmbedding(
                position_embedding, self.layout, num_heads, features.width, slots=low_rank
            )
        self.features = features
        unread = MIXINGS[variant].unread(tokens, self.layout.valid)
        self.register_buffer("unread", unread, persistent=False)

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        mixing = self.mixing(x, context)
        with full_precision(x):
            z = self.layout.replace(x, mixing.apply(self.layout.values(x)))
            return z, (mixing.log_det() * self.layout.entries).sum((1, 2))

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        mixing = self.mixing(z, context)
        with full_precision(z):
            return self.layout.replace(z, mixing.solve(self.layout.values(z)))

    def mixing(self, x: Tensor, context: Context | None = None) -> Mixing:
        """W for every group of tokens and head; it reads the masked half of x alone."""
        with full_precision(x):
            read = self.read(x, context)
            query, key, gate = self.features(read, self.layout, self.positions)
            alpha = (LOWEST_ALPHA + F.softplus(self.alpha_logit))[:, None]
            gate = gate + self.gain_logit[:, None]
            ratio = LARGEST_RATIO * (gate.tanh() if self.signed else gate.sigmoid())  # g / alpha
            bias = None if self.positions is None else self.positions.bias()
            if bias is None or self.unread is None:
                bias = self.unread if bias is None else bias
            else:
                bias = bias + self.unread
            kind = MIXINGS[self.variant]
            return kind(query, key, alpha, ratio, self.layout.valid, bias)

    def extra_repr(self) -> str:
        return (
            f"{self.num_channels}, {self.variant}, mask={self.mask_name}, parity={self.parity}, "
            f"patch_size={self.patch_size}, num_heads={self.num_heads}, "
            f"{'signed' if self.signed else 'positive'}"
        )


def check_position_embedding(value: object) -> None:
    """Raise :class:`AttnFlowError` for no word of POSITIONS; say what to write for true, false."""
    if isinstance(value, bool):
        instead = "both, or absolute with variant linear" if value else "none"
        raise AttnFlowError(
            f"position_embedding: expected one of {', '.join(POSITIONS)}, got {value}; write "
            f"{instead}."
        )
    check_choice("position_embedding", value, POSITIONS)
