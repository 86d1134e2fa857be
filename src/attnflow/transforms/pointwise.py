"""The same linear map at every position."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["PointwiseLinear", "pointwise"]


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``W x + b`` at every position, as a batched matrix product.

    A 1x1 convolution would do the same, but for the few channels of an image its set-up takes
    several times as long as the product.

    Args:
        x: (B, C, ...).
        weight: (D, C), (1, D, C) or, one matrix a sample, (B, D, C).
        bias: (D, 1) or, one for every position, (D, N), also with 1 or B in front; or None.

    Returns:
        (B, D, ...).
    """
    weight = weight.expand(len(x), -1, -1)
    values = x.flatten(2)
    product = torch.bmm(weight, values) if bias is None else torch.baddbmm(bias, weight, values)
    return product.unflatten(2, x.shape[2:])


class PointwiseLinear(nn.Linear):
    """A linear layer of the channels of (B, C, ...), the same at every position."""

    def forward(self, input: Tensor) -> Tensor:
        return pointwise(input, self.weight, self.bias[:, None])
