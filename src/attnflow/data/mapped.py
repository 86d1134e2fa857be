"""Images in a .npy file that is memory-mapped, not loaded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from attnflow.data.bit_depth import reduce_bits
from attnflow.data.finding import shown
from attnflow.data.marks import tensor_traits
from attnflow.data.samples import Samples
from attnflow.errors import AttnFlowError
from attnflow.utils.files import WriteError

__all__ = ["MappedImages", "create_npy", "not_ours", "read_npy"]


class MappedImages(Samples):
    """Some rows of images that lie in a .npy file, (N, C, H, W) uint8, with what goes with them.

    Args:
        file: of the images.
        rows: those that are taken, in this order.
        num_bits: bits of a grey value, 1 to 8.
        fields: further tensors of N rows, such as ``label`` (N,).
    """

    def __init__(self, file: Path, rows: np.ndarray, num_bits: int, **fields: Tensor) -> None:
        self.file, self.rows, self.num_bits, self.fields = file, rows, num_bits, fields

    @cached_property
    def images(self) -> np.ndarray:
        """All images of the file, mapped: only what is read comes into memory."""
        return np.load(self.file, mmap_mode="r", allow_pickle=False)

    def __getstate__(self) -> dict[str, object]:
        # A worker that is not forked maps the file itself: pickled, the images would be copied.
        return {name: value for name, value in vars(self).items() if name != "images"}

    def __len__(self) -> int:
        return len(self.rows)

    def traits(self) -> Iterable[bytes] | None:
        """What goes with the images, as these lie on the disk; None where nothing does."""
        if not self.fields:
            return None
        return tensor_traits({name: values[self.rows] for name, values in self.fields.items()})

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        rows = self.rows[list(indices)]
        images = torch.from_numpy(self.images[rows])
        return {
            "image": reduce_bits(images, self.num_bits),
            **{name: values[rows] for name, values in self.fields.items()},
            "index": torch.as_tensor(indices),
        }


def create_npy(file: Path, shape: tuple[int, ...]) -> np.memmap:
    """A new .npy file of uint8 at its whole size, mapped to be filled.

    Raises:
        WriteError: the disk is full, or whatever else is wrong with it.
    """
    try:
        array = np.lib.format.open_memmap(file, "w+", np.uint8, shape)
        with file.open("r+b") as opened:  # or a full disk would kill the process later
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    except OSError as error:
        file.unlink(missing_ok=True)
        raise WriteError(file, error) from error
    return array


def read_npy(file: Path, dtype: type, shape: tuple[int, ...], remedy: str) -> np.memmap:
    """The array of a .npy file, mapped: rows of a shape. No objects, which may be code, are read.

    Raises:
        AttnFlowError: a file that is damaged, or that holds another array; it ends with the
            remedy.
    """
    try:
        array = np.lib.format.open_memmap(file, mode="r")
    except Exception as error:  # of a damaged file, its reader can raise anything
        raise not_ours(file, f"what cannot be read ({error})", remedy) from error
    if array.dtype != dtype or array.ndim == 0 or array.shape[1:] != shape:
        raise not_ours(file, f"an array of {array.dtype}, {array.shape}", remedy)
    return array


def not_ours(file: Path, holds: str, remedy: str) -> AttnFlowError:
    """The error of a .npy file that attnflow did not make, with the remedy."""
    return AttnFlowError(
        f"{shown(file)}: expected an array that attnflow made, got {holds}; {remedy}"
    )
