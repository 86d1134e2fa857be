"""How well a score tells images of one kind from those of another."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_roc,
)

__all__ = ["FOUND", "detection"]

FOUND = 0.95  # the share of the others that is to be found


def detection(known: Tensor, others: Tensor) -> dict[str, float]:
    """AUROC, AUPR and the false positive rate where 95 % of the others are found.

    Args:
        known: scores of images like those of the training, (N,).
        others: scores of other images, (M,), which are to be the higher ones.

    Returns:
        ``auroc``, ``aupr``, ``fpr_at_95``; 0.5, the others' share and 0.95 of a score that tells
        nothing.
    """
    scores = torch.cat([known, others]).double()
    # Ranks, as torchmetrics takes values outside of [0, 1] for logits, which it would round.
    _, ranks = scores.unique(return_inverse=True)
    values = ranks.double() / max(1, int(ranks.max()))
    is_other = torch.cat([torch.zeros(len(known)), torch.ones(len(others))]).long()
    false, true, _ = binary_roc(values, is_other)
    return {
        "auroc": float(binary_auroc(values, is_other)),
        "aupr": float(binary_average_precision(values, is_other)),
        "fpr_at_95": float(false[true >= FOUND].min()),
    }
