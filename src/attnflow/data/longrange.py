"""Synthetic images with a long-range dependence and a known entropy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from typing_extensions import Unpack

from attnflow.data.base import SPLITS, ImageDataModule, LoaderOptions
from attnflow.data.samples import TensorImages
from attnflow.errors import ArgumentError
from attnflow.spec import DataSpec

__all__ = ["LongRangeDataModule"]


class LongRangeDataModule(ImageDataModule):
    """Images whose right half repeats what stands at a fixed offset from it, further left.

    The left half is independent and uniform over the grey levels. A pixel of the right half
    is the pixel so many rows above it (cyclically) and columns to its left, but for a share of
    them that is drawn anew, uniformly over all levels. So the entropy is known exactly
    (:attr:`entropy`), and a model reaches it only by looking far. Offsets of fewer columns than
    half the side repeat a part of the right half in itself, which leaves the entropy the same.

    Args:
        size: side of the (square, grey) images, even.
        num_levels: grey levels, 2 to 256.
        replaced: share of the right half's pixels that are drawn anew, 0 to 1.
        offset: (rows, columns) by which the copy is moved, down and to the right: 0 to
            ``size - 1`` and 1 to ``size / 2``; rows alone mean ``size / 2`` columns.
        num_train: training images; validation and test have a quarter each.
        loader: as for every data module, :class:`~attnflow.data.base.ImageDataModule`.
    """

    def __init__(
        self,
        size: int = 16,
        num_levels: int = 16,
        replaced: float = 0.1,
        offset: int | Sequence[int] = 4,
        num_train: int = 8192,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(**loader)
        if size < 2 or size % 2:
            raise ArgumentError("size", "an even number of 2 or more", size)
        if not 2 <= num_levels <= 256:
            raise ArgumentError("num_levels", "a whole number from 2 to 256", num_levels)
        if not 0 <= replaced <= 1:
            raise ArgumentError("replaced", "a share from 0 to 1", replaced)
        self.size, self.num_levels, self.replaced = size, num_levels, replaced
        self.offset, self.num_train = checked_offset(offset, size), num_train

    @property
    def spec(self) -> DataSpec:
        return DataSpec(image_shape=(1, self.size, self.size), num_bins=self.num_levels)

    @property
    def entropy(self) -> float:
        """The images' exact entropy in bits/dim, which no model's bits/dim can go below.

        Half of the pixels have log2 L bits. A pixel of the other half equals its source with
        probability q = 1 - r + r / L and each other level with probability r / L, whatever the
        columns to its left hold; its source is one of theirs.
        """
        levels, r = self.num_levels, self.replaced
        same, other = 1 - r + r / levels, r / levels
        copy = -same * math.log2(same) if same else 0.0
        copy -= (levels - 1) * other * math.log2(other) if other else 0.0
        return (math.log2(levels) + copy) / 2

    def read(self, split: str) -> TensorImages:
        number = {"train": self.num_train}.get(split, self.num_train // 4)
        generator = torch.Generator().manual_seed(SPLITS.index(split))  # always the same images
        half = self.size // 2
        shape = (number, 1, self.size, half)
        left = torch.randint(self.num_levels, shape, generator=generator)
        fresh = torch.randint(self.num_levels, shape, generator=generator)
        anew = torch.rand(shape, generator=generator) < self.replaced
        images = torch.cat([left, fresh], 3)
        rows, columns = self.offset
        # Column by column, as a source may be a copy itself.
        for column in range(half):
            source = images[..., half + column - columns].roll(rows, 2)
            right = torch.where(anew[..., column], fresh[..., column], source)
            images[..., half + column] = right
        return TensorImages(images.to(torch.uint8))


def checked_offset(offset: int | Sequence[int], size: int) -> tuple[int, int]:
    """(rows, columns) of an offset, of which columns are half the side where rows stand alone.

    Raises:
        ArgumentError: an offset that leads out of the image, or to a pixel further right.
    """
    given = [offset % size, size // 2] if isinstance(offset, int) else list(offset)
    if len(given) != 2 or not (0 <= given[0] < size and 1 <= given[1] <= size // 2):
        expected = f"(rows, columns) from (0, 1) to ({size - 1}, {size // 2})"
        raise ArgumentError("offset", f"{expected} at a size of {size}", offset)
    return given[0], given[1]
