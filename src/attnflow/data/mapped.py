"""Images in a .npy file that is memory-mapped, not loaded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from attnflow.data.bit_depth import reduce_bits
from attnflow.data.finding import shown
from attnflow.data.samples import Samples
from attnflow.errors import AttnFlowError

__all__ = ["MappedImages", "not_ours", "read_npy"]


class MappedImages(Samples):
    """Some rows of images that lie in a .npy file, (N, 3, H, W) uint8, with their labels."""

    def __init__(self, file: Path, labels: Tensor, rows: np.ndarray, num_bits: int) -> None:
        self.file, self.labels, self.rows, self.num_bits = file, labels, rows, num_bits

    @cached_property
    def images(self) -> np.ndarray:
        """All images of the file, mapped: only what is read comes into memory."""
        return np.load(self.file, mmap_mode="r", allow_pickle=False)

    def __getstate__(self) -> dict[str, object]:
        # A worker that is not forked maps the file itself: pickled, the images would be copied.
        return {name: value for name, value in vars(self).items() if name != "images"}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        rows = self.rows[list(indices)]
        images = torch.from_numpy(self.images[rows])
        return {
            "image": reduce_bits(images, self.num_bits),
            "label": self.labels[rows],
            "index": torch.as_tensor(indices),
        }


def read_npy(file: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    """The array of a .npy file, mapped: rows of a shape. No objects, which may be code, are read.

    Raises:
        AttnFlowError: a file that is damaged, or that holds another array.
    """
    try:
        array = np.lib.format.open_memmap(file, mode="r")
    except Exception as error:  # of a damaged file, its reader can raise anything
        raise not_ours(file, f"what cannot be read ({error})") from error
    if array.dtype != dtype or array.ndim == 0 or array.shape[1:] != shape:
        raise not_ours(file, f"an array of {array.dtype}, {array.shape}")
    return array


def not_ours(file: Path, holds: str) -> AttnFlowError:
    """The error of a .npy file that was not made from the batch files."""
    return AttnFlowError(
        f"{shown(file)}: expected an array that attnflow made of the batch files, got {holds}; "
        "without it and its partner of images or labels, both are made anew."
    )
