"""Samples held in memory, or read from one file each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from attnflow.data.decoding import CorruptImage
from attnflow.data.marks import tensor_traits
from attnflow.errors import AttnFlowError

__all__ = ["LazySamples", "Samples", "TensorImages", "load"]

log = logging.getLogger(__name__)

# Reads the sample of a file: "image" (C, H, W), and what goes with it.
Reader = Callable[[Path], Mapping[str, Tensor]]


class Samples(Dataset[dict[str, Tensor]], Sized):
    """The samples of a split: a known number of them, each a dict of tensors."""

    def traits(self) -> Iterable[bytes] | None:
        """What tells them from others, cheaply and on any machine; None where nothing does."""
        return None


class TensorImages(Samples):
    """Images that lie in memory, read a whole batch at a time.

    Args:
        image: (N, C, H, W), uint8.
        fields: further tensors of N rows, such as ``label`` (N,) or ``condition``.
    """

    def __init__(self, image: Tensor, **fields: Tensor) -> None:
        self.fields = {"image": image, **fields}

    def __len__(self) -> int:
        return len(self.fields["image"])

    def traits(self) -> Iterable[bytes]:
        return tensor_traits(self.fields)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: rows[0] for name, rows in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """A batch: torch's DataLoader calls this instead of reading and stacking samples."""
        index = torch.as_tensor(indices)
        return {name: rows[index] for name, rows in self.fields.items()} | {"index": index}


class LazySamples(Samples):
    """Samples that are decoded anew at every read; for sets that do not fit in memory.

    Args:
        read: reads the sample of a file.
        files: of the samples.
    """

    def __init__(self, read: Reader, files: Sequence[Path]) -> None:
        self.read, self.files = read, files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {**self.read(self.files[index]), "index": torch.tensor(index)}


def load(read: Reader, files: Sequence[Path], in_memory: bool, skip_corrupt: bool) -> Samples:
    """The samples of ``files``, decoded once and held in memory, or at every read.

    All are decoded here once in either case, so that a bad file stops a run at its start.

    Raises:
        AttnFlowError: a corrupt image, unless they are to be skipped; all of them corrupt.
    """
    rows: dict[str, Tensor] = {}
    readable, corrupt = 0, set[int]()
    for number, file in enumerate(files):
        try:
            sample = read(file)
        except CorruptImage as error:
            if not skip_corrupt:
                raise
            log.warning("skipped: %s", error)
            corrupt.add(number)
            continue
        if in_memory:
            # Filled in place: a list to stack would need the memory twice.
            for name, value in sample.items():
                rows.setdefault(name, value.new_empty(len(files), *value.shape))
                rows[name][readable] = value
        readable += 1
    if corrupt:
        log.warning("skipped %d of %d images, which are corrupt", len(corrupt), len(files))
    if not readable:
        raise AttnFlowError(
            f"the images of a split: expected at least one readable, got {len(files)}, all corrupt."
        )
    if in_memory:
        return TensorImages(**{name: values[:readable] for name, values in rows.items()})
    if corrupt:
        files = [file for number, file in enumerate(files) if number not in corrupt]
    return LazySamples(read, files)
