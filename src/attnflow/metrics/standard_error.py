"""The standard error of a mean over a test set."""

from __future__ import annotations

from torch import Tensor
from torchmetrics import CatMetric

__all__ = ["StandardError"]


class StandardError(CatMetric):
    """``std(x) / sqrt(n)`` over all n values seen, on all ranks; NaN for fewer than two.

    One number an image is kept, so that values of any size lose no digits.
    """

    def __init__(self) -> None:
        super().__init__(nan_strategy="disable")  # a NaN must show

    def compute(self) -> Tensor:
        values = super().compute()
        if len(values) < 2:
            return values.new_tensor(float("nan"))
        return values.std() / len(values) ** 0.5
