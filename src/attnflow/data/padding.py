"""Zero pixels around small images, so that flows of several levels take them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from attnflow.spec import DataSpec

__all__ = ["pad", "pad_to", "padded_spec"]


def pad(images: Tensor, padding: int) -> Tensor:
    """Images (N, C, H, W) with so many zero pixels on every side."""
    return F.pad(images, (padding,) * 4)


def pad_to(images: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Images (..., H, W) in the middle of zero pixels, as many as ``shape``, (C, H, W), has."""
    _, height, width = shape
    top, left = (height - images.shape[-2]) // 2, (width - images.shape[-1]) // 2
    bottom, right = height - images.shape[-2] - top, width - images.shape[-1] - left
    return F.pad(images, (left, right, top, bottom))


def padded_spec(
    shape: tuple[int, int, int], padding: int, num_bits: int, num_classes: int
) -> DataSpec:
    """The spec of images of ``shape``, (C, H, W), that are padded: bits/dim stay the originals'."""
    channels, height, width = shape
    return DataSpec(
        image_shape=(channels, height + 2 * padding, width + 2 * padding),
        num_bins=2**num_bits,
        num_classes=num_classes,
        unpadded_shape=shape if padding else None,
    )
