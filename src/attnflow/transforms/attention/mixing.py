"""The matrix that mixes tokens: its log-determinant, its product and its inverse.

Tokens come last in every tensor here, as positions do in an image: features of n tokens are
(d, n), and the m values of each that a head mixes are (m, n), so that ``W v`` is ``v W^T``.

Every class here stands for ``W = diag(alpha) (I + diag(ratio) S)`` with S a row-stochastic
matrix computed from queries and keys. The rows of S sum to 1 and ``|ratio| < 1`` holds in
every row, so W and all its principal submatrices are strictly diagonally dominant:
invertible, with ``|W^-1|_inf <= 1 / min(alpha (1 - |ratio|))`` (Varah, 1975). That is the
certificate on which iTrans rests; it needs no property of queries, keys or parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attnflow.transforms.attention.dominant import log_abs_det

__all__ = ["MIXINGS", "CausalMixing", "DenseMixing", "LinearMixing", "Mixing"]


class Mixing:
    """``W = diag(alpha) (I + diag(ratio) S)``; subclasses define S.

    Args:
        query, key: (B, G, h, d, n).
        alpha: positive, one for each head, (h, 1).
        ratio: (B, G, h, n), ``|ratio| < 1``.
        valid: (G, n), False at tokens that are padding, or None. Padding comes last, and it adds
            nothing to the log-determinant.
        bias: :meth:`unread`, and what else is to be added to the logits of S; broadcasts to
            (G, h, n, n). None for nothing.
    """

    # Whether S is made from `rank` features of queries and keys, without a logit for each pair.
    low_rank = False

    @staticmethod
    def unread(num_tokens: int, valid: Tensor | None) -> Tensor | None:
        """A constant of the logits: -inf where a token must not be read, else 0; None for none.

        It broadcasts to (G, h, n, n), n being ``num_tokens``.
        """
        return None if valid is None else minus_infinity_where(~valid)[:, None, None, :]

    def __init__(
        self,
        query: Tensor,
        key: Tensor,
        alpha: Tensor,
        ratio: Tensor,
        valid: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> None:
        self.alpha, self.ratio, self.valid = alpha, ratio, valid
        self._attend(query, key, bias)

    def log_det(self) -> Tensor:
        """log|det W| over the tokens that are not padding: (B, G, h)."""
        tokens = self.ratio.shape[-1] if self.valid is None else self.valid.sum(-1, keepdim=True)
        return tokens * self.alpha.log().squeeze(-1) + self._unit_log_det()

    def apply(self, values: Tensor) -> Tensor:
        """``W v``: (B, G, h, m, n) -> the same."""
        return self.alpha.unsqueeze(-2) * (values + self._mixed(values))

    def solve(self, values: Tensor) -> Tensor:
        """``W^-1 v``: (B, G, h, m, n) -> the same."""
        return self._unit_solve(values / self.alpha.unsqueeze(-2))

    def weights(self, rows: slice | Tensor = slice(None)) -> Tensor:
        """S itself, or some of its rows: (B, G, h, n, n) or (B, G, h, len(rows), n)."""
        raise NotImplementedError

    def _attend(self, query: Tensor, key: Tensor, bias: Tensor | None) -> None:
        """Compute S, or what stands for it."""
        raise NotImplementedError

    def _mixed(self, values: Tensor) -> Tensor:
        """``diag(ratio) S v``."""
        raise NotImplementedError

    def _unit_log_det(self) -> Tensor:
        """log det(I + diag(ratio) S); the determinant is positive, as S's eigenvalues are <= 1."""
        raise NotImplementedError

    def _unit_solve(self, values: Tensor) -> Tensor:
        """``(I + diag(ratio) S)^-1 v``."""
        raise NotImplementedError


class DenseMixing(Mixing):
    """``S = softmax(Q K^T / sqrt(d) + bias)``; its determinant and its inverse cost O(n^3)."""

    def weights(self, rows: slice | Tensor = slice(None)) -> Tensor:
        return self.stochastic[..., rows, :]

    def _attend(self, query: Tensor, key: Tensor, bias: Tensor | None) -> None:
        logits = (query * query.shape[-2] ** -0.5).mT @ key
        self.stochastic = (logits if bias is None else logits + bias).softmax(-1)

    def _mixed(self, values: Tensor) -> Tensor:
        return self.ratio.unsqueeze(-2) * (values @ self.stochastic.mT)

    def _unit_log_det(self) -> Tensor:
        return log_abs_det(self._unit_matrix())

    def _unit_solve(self, values: Tensor) -> Tensor:
        return torch.linalg.solve(self._unit_matrix(), values.mT).mT

    def _unit_matrix(self) -> Tensor:
        """I + diag(ratio) S."""
        return identity_like(self.stochastic) + self.ratio.unsqueeze(-1) * self.stochastic


class CausalMixing(DenseMixing):
    """``S = softmax(Q K^T / sqrt(d) + bias)`` over the tokens up to each token's own: O(n^2).

    S is lower triangular, so W's determinant is the product of its diagonal and its inverse
    a triangular solve. Padding needs no mask of its own: it comes after every real token.
    """

    @staticmethod
    def unread(num_tokens: int, valid: Tensor | None) -> Tensor | None:
        # Padding reads itself, so its diagonal is not 1 and must be left out below.
        return minus_infinity_where(torch.ones(num_tokens, num_tokens).triu(1) > 0)[None, None]

    def _unit_log_det(self) -> Tensor:
        log_diagonal = (self.ratio * self.stochastic.diagonal(dim1=-2, dim2=-1)).log1p()
        if self.valid is not None:
            log_diagonal = log_diagonal * self.valid[:, None, :]
        return log_diagonal.sum(-1)

    def _unit_solve(self, values: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(self._unit_matrix(), values.mT, upper=False).mT


class LinearMixing(Mixing):
    """``S = A B``, ``A = softmax_r(Q)`` and ``B = softmax_n(K)^T``: O(n r^2), no n x n matrix.

    Q and K hold r features a token (d = r). A (n x r) spreads every token over r slots and B
    (r x n) averages tokens into each slot: Shen et al., Efficient Attention (2021), equation 5.
    Both are row-stochastic, so S is as it stands (its rows need no further normalisation),
    and so the r x r matrix of the matrix-determinant lemma and of Woodbury's identity,
    ``I + B diag(ratio) A``, is strictly diagonally dominant too, with the same bound on its
    inverse: float32 is safe at any parameters. Softmax over tokens lets a slot be as sharp as
    one token, but S holds at most r different rows' worth of sources: rank r.
    """

    low_rank = True

    def weights(self, rows: slice | Tensor = slice(None)) -> Tensor:
        return self.spread[..., rows].mT @ self.gather

    def _attend(self, query: Tensor, key: Tensor, bias: Tensor | None) -> None:
        self.spread = query.softmax(-2)  # A^T
        self.gather = (key if bias is None else key + bias).softmax(-1)  # B
        self.scaled = self.ratio.unsqueeze(-2) * self.spread  # (diag(ratio) A)^T

    def _mixed(self, values: Tensor) -> Tensor:
        return values @ self.gather.mT @ self.scaled

    def _unit_log_det(self) -> Tensor:
        return log_abs_det(self._slot_matrix())

    def _unit_solve(self, values: Tensor) -> Tensor:
        slots = torch.linalg.solve(self._slot_matrix(), self.gather @ values.mT)
        return values - slots.mT @ self.scaled

    def _slot_matrix(self) -> Tensor:
        """I + B diag(ratio) A: (B, G, h, r, r)."""
        product = self.gather @ self.scaled.mT
        return identity_like(product) + product


def identity_like(matrix: Tensor) -> Tensor:
    """The identity of the size and type of (..., n, n)."""
    return torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


def minus_infinity_where(condition: Tensor) -> Tensor:
    """-inf where ``condition`` holds, else 0, to be added to logits."""
    return torch.zeros(condition.shape).masked_fill(condition, -torch.inf)


MIXINGS = {"dense": DenseMixing, "causal": CausalMixing, "linear": LinearMixing}
