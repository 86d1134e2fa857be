"""Patches of the two photographs that scikit-learn ships: natural images without a download."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Unpack

from attnflow.data.base import ImageDataModule, LoaderOptions
from attnflow.data.bit_depth import check_num_bits, reduce_bits
from attnflow.data.samples import TensorImages
from attnflow.errors import ArgumentError
from attnflow.spec import DataSpec

__all__ = ["PhotosDataModule"]

TRAIN_COLUMNS = 0.7  # of the first photograph; validation and test lie to the right of it
VAL_COLUMNS = 0.85
# Training patches start every STRIDE pixels, so they overlap; evaluation patches do not.
STRIDE = 4


class PhotosDataModule(ImageDataModule):
    """Colour patches of ``china.jpg`` and ``flower.jpg`` (427 x 640 pixels each), 8-bit.

    Fixed split by region, so that no pixel is in two splits: of the first photograph the left
    70% trains, the next 15% validates and the right 15% tests; the whole second photograph
    tests as well, at every second patch. Training patches overlap, others do not.

    Args:
        size: side of a patch; at most the width of the narrowest region, 96.
        num_bits: bits of a grey value, 1 to 8.
        loader: as for every data module, :class:`~attnflow.data.base.ImageDataModule`.
    """

    def __init__(
        self,
        size: int = 16,
        num_bits: int = 8,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(**loader)
        self.num_bits = check_num_bits(num_bits)
        if not 2 <= size <= 96:
            raise ArgumentError("size", "2 to 96 pixels, which fit the photographs' regions", size)
        self.size = size

    @property
    def spec(self) -> DataSpec:
        return DataSpec(image_shape=(3, self.size, self.size), num_bins=2**self.num_bits)

    def traits(self, split: str) -> None:
        """Nothing: they are always the same ones, decoded by each machine's own library of JPEG."""

    def read(self, split: str) -> TensorImages:
        from sklearn.datasets import load_sample_images  # as in digits.py

        first, second = (torch.from_numpy(np.array(p)) for p in load_sample_images().images)
        width = first.shape[1]
        train_end, val_end = round(TRAIN_COLUMNS * width), round(VAL_COLUMNS * width)
        if split == "train":
            images = patches(first[:, :train_end], self.size, STRIDE)
        elif split == "val":
            images = patches(first[:, train_end:val_end], self.size, self.size)
        else:
            images = torch.cat(
                [
                    patches(first[:, val_end:], self.size, self.size),
                    patches(second, self.size, self.size)[::2],
                ]
            )
        return TensorImages(reduce_bits(images, self.num_bits))


def patches(photograph: Tensor, size: int, stride: int) -> Tensor:
    """All patches of a photograph (H, W, 3) that start every ``stride`` pixels: (N, 3, s, s)."""
    windows = photograph.unfold(0, size, stride).unfold(1, size, stride)
    return windows.flatten(0, 1).contiguous()
