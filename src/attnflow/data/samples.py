"""Samples held in memory, or read from one file each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence, Sized

import torch
from torch import Tensor
from torch.utils.data import Dataset

from attnflow.data.decoding import CorruptImage
from attnflow.errors import AttnFlowError

__all__ = ["LazySamples", "Samples", "TensorImages", "load"]

log = logging.getLogger(__name__)

# Reads one sample: "image" (C, H, W), and what goes with it.
Reader = Callable[[], Mapping[str, Tensor]]


class Samples(Dataset[dict[str, Tensor]], Sized):
    """The samples of a split: a known number of them, each a dict of tensors."""


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

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: rows[0] for name, rows in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """A batch: torch's DataLoader calls this instead of reading and stacking samples."""
        index = torch.as_tensor(indices)
        return {name: rows[index] for name, rows in self.fields.items()} | {"index": index}


class LazySamples(Samples):
    """Samples that are decoded anew at every read; for sets that do not fit in memory."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        self.readers = readers

    def __len__(self) -> int:
        return len(self.readers)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {**self.readers[index](), "index": torch.tensor(index)}


def load(readers: Sequence[Reader], in_memory: bool, skip_corrupt: bool) -> Samples:
    """The samples of ``readers``, decoded once and held in memory, or at every read.

    All are decoded here once in either case, so that a bad file stops a run at its start.

    Raises:
        AttnFlowError: a corrupt image, unless they are to be skipped; all of them corrupt.
    """
    rows: dict[str, Tensor] = {}
    readable: list[Reader] = []
    for reader in readers:
        try:
            sample = reader()
        except CorruptImage as error:
            if not skip_corrupt:
                raise
            log.warning("skipped: %s", error)
            continue
        if in_memory:
            # Filled in place: a list to stack would need the memory twice.
            for name, value in sample.items():
                rows.setdefault(name, value.new_empty(len(readers), *value.shape))
                rows[name][len(readable)] = value
        readable.append(reader)
    if len(readable) < len(readers):
        skipped = len(readers) - len(readable)
        log.warning("skipped %d of %d images, which are corrupt", skipped, len(readers))
    if not readable:
        raise AttnFlowError(
            f"the images of a split: expected at least one readable, got {len(readers)}, "
            "all corrupt."
        )
    if not in_memory:
        return LazySamples(readable)
    return TensorImages(**{name: values[: len(readable)] for name, values in rows.items()})
