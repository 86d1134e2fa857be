"""Bookkeeping between nats of a continuous density and bits per dimension."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

__all__ = ["bits_per_dim", "num_dimensions"]


def num_dimensions(image_shape: Sequence[int]) -> int:
    """D, the number of values of one image of shape (C, H, W)."""
    return math.prod(image_shape)


def bits_per_dim(log_likelihood: Tensor, image_shape: Sequence[int], num_bins: int) -> Tensor:
    """Bits per dimension of images with ``num_bins`` grey values.

    ``bpd = -(log p(y) - D log num_bins) / (D log 2)``

    where y in [0, 1)^D is the dequantized image (y = (x + u) / num_bins), so that
    ``D log num_bins`` is the log-volume of the bin that x stands for.

    Args:
        log_likelihood: (B,), the log-density of y in nats (with variational dequantization its
            lower bound, log p(y) - log q(u | x), q a density of u in [0, 1)^D).
        image_shape: (C, H, W) of y. Of padded images, the model's bits/dim are these times the
            dimensions with padding over those without.
        num_bins: the number of grey values a dimension can take.

    Returns:
        (B,), bits per dimension.

    Example:
        A density of 1 on [0, 1)^D, which knows nothing of 256 grey values:

        >>> import torch
        >>> bits_per_dim(torch.zeros(2), (3, 8, 8), num_bins=256)
        tensor([8., 8.])
    """
    dims = num_dimensions(image_shape)
    return -(log_likelihood - dims * math.log(num_bins)) / (dims * math.log(2))
