"""The matrix that mixes tokens: its log-determinant, its product and its inverse.

Every class here stands for ``W = diag(alpha) + diag(gain) S`` with S a row-stochastic
matrix computed from queries and keys. The rows of S sum to 1 and ``|gain| < alpha`` holds in
every row, so W and all its principal submatrices are strictly diagonally dominant:
invertible, with ``|W^-1|_inf <= 1 / min(alpha - |gain|)`` (Varah, 1975). That is the
certificate on which iTrans rests; it needs no property of queries, keys or parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["DenseMixing"]


class DenseMixing:
    """``S = softmax(Q K^T / sqrt(d) + bias)``; LU for the determinant and the inverse: O(n^3).

    Args:
        query, key: (B, G, h, n, d).
        alpha: the diagonal, positive; broadcasts to (B, G, h, n).
        gain: |gain| < alpha; broadcasts to (B, G, h, n).
        valid: (G, n), False at tokens that are padding, or None.
        bias: added to the logits, (G, h, n, n), or None.
    """

    def __init__(
        self,
        query: Tensor,
        key: Tensor,
        alpha: Tensor,
        gain: Tensor,
        valid: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> None:
        logits = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        if bias is not None:
            logits = logits + bias
        if valid is not None:
            logits = logits.masked_fill(~valid[:, None, None, :], -torch.inf)
        self.stochastic = logits.softmax(-1)
        self.alpha, self.gain, self.valid = alpha, gain, valid

    def log_det(self) -> Tensor:
        """log|det W| over the tokens that are not padding: (B, G, h)."""
        log_det = torch.linalg.slogdet(self._matrix()).logabsdet
        return log_det - _padding_log_det(self.alpha, log_det, self.valid)

    def apply(self, values: Tensor) -> Tensor:
        """``W v``: (B, G, h, n, m) -> the same."""
        return self.alpha[..., None] * values + self.gain[..., None] * (self.stochastic @ values)

    def solve(self, values: Tensor) -> Tensor:
        """``W^-1 v``: (B, G, h, n, m) -> the same."""
        return torch.linalg.solve(self._matrix(), values)

    def _matrix(self) -> Tensor:
        diagonal = self.alpha.expand(self.stochastic.shape[:-1])
        return torch.diag_embed(diagonal) + self.gain[..., None] * self.stochastic


def _padding_log_det(alpha: Tensor, log_det: Tensor, valid: Tensor | None) -> Tensor | float:
    """What the padding adds to a log-determinant: its columns of W are alpha e_i."""
    if valid is None:
        return 0.0
    padding = (~valid)[:, None, :].to(log_det.dtype)
    return (alpha.log() * padding).sum(-1)
