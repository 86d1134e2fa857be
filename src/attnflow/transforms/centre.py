"""Grey values around zero."""

from __future__ import annotations

import math

from torch import Tensor

from attnflow.context import Context
from attnflow.transforms.base import Transform, zero_log_det

__all__ = ["Centre"]


class Centre(Transform):
    """``z = (x - 1/2) sqrt(12)``: of values spread evenly over [0, 1), mean 0 and variance 1.

    Nothing is learned, so that distances between grey levels stay what they are.
    """

    scale = math.sqrt(12)

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        log_det = zero_log_det(x) + x[0].numel() * math.log(self.scale)
        return (x - 0.5) * self.scale, log_det

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        return z / self.scale + 0.5
