"""scikit-learn's handwritten digits: real images that need no download."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from attnflow.data.base import ImageDataModule
from attnflow.data.samples import TensorImages
from attnflow.spec import DataSpec

if TYPE_CHECKING:
    from sklearn.utils import Bunch

__all__ = ["DigitsDataModule"]


@cache
def digits() -> Bunch:
    """Read all images: once, as they are a text file, and each split is some of its lines."""
    from sklearn.datasets import load_digits  # which takes half a second, not spent on other data

    return cast("Bunch", load_digits())


class DigitsDataModule(ImageDataModule):
    """1,797 images of 8 x 8 pixels in 17 grey levels, of the ten digits.

    The test images of the UCI data set "Optical Recognition of Handwritten Digits", as
    scikit-learn ships them. Fixed split: shuffled once with seed 0, then 1,200 train,
    300 val and 297 test images.
    """

    @property
    def spec(self) -> DataSpec:
        return DataSpec(image_shape=(1, 8, 8), num_bins=17, num_classes=10)

    def read(self, split: str) -> TensorImages:
        images, labels = digits().images, digits().target
        order = np.random.default_rng(0).permutation(len(labels))
        rows = {"train": order[:1200], "val": order[1200:1500], "test": order[1500:]}[split]
        pixels = torch.from_numpy(images[rows]).to(torch.uint8)
        return TensorImages(pixels[:, None], label=torch.from_numpy(labels[rows]))
