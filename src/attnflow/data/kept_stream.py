"""A stream's images, decoded once and kept in .npy files, which are then mapped."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch

from attnflow.data.arrow_images import CellDecoder
from attnflow.data.decoding import CorruptImage
from attnflow.data.mapped import MappedImages, create_npy, read_npy
from attnflow.errors import AttnFlowError
from attnflow.utils.files import whole_folder, write_whole

__all__ = ["KeptStream", "SplitOfStream"]

log = logging.getLogger(__name__)

COUNTS = "counts.json"  # beside the .npy files; where it is, all is
REMEDY = "without the folder that it lies in, the stream is read anew."
VERSION = 1  # of what is made of the same stream and options


@dataclass(frozen=True)
class SplitOfStream:
    """A split to read.

    Attributes:
        rows: an iterable of mappings with ``image`` and maybe ``label``.
        length: how many they are.
        origin: for messages.
    """

    rows: Any
    length: int
    origin: str


class KeptStream:
    """A folder with the images of each split, called by a hash of all that decides them.

    Args:
        folder: that holds such folders.
        decided_by: what tells this stream from others, in plain values.
        decode: what a cell becomes an image by.
        skip_corrupt: leave out images that cannot be decoded, with a warning.
    """

    def __init__(
        self, folder: Path, decided_by: object, decode: CellDecoder, skip_corrupt: bool
    ) -> None:
        self.decode, self.skip_corrupt = decode, skip_corrupt
        decided = [VERSION, PIL.__version__, decided_by, asdict(decode), skip_corrupt]
        key = hashlib.sha256(json.dumps(decided).encode()).hexdigest()[:16]
        self.folder = folder / f"stream_{key}"

    @property
    def is_whole(self) -> bool:
        """Whether the stream has been read."""
        return (self.folder / COUNTS).is_file()

    def number(self, split: str) -> int:
        """How many images of a split are kept."""
        return self._counts[split]["images"]

    def damaged(self, split: str) -> int:
        """How many images of a split were left out."""
        return self._counts[split]["damaged"]

    def labels(self, split: str) -> np.ndarray:
        """The labels of a split: (N,), int64.

        Raises:
            AttnFlowError: their file is damaged.
        """
        labels = read_npy(self._file(split, "labels"), np.int64, (), REMEDY)
        return np.array(labels[: self.number(split)])

    def images(
        self, split: str, rows: np.ndarray, num_bits: int, labels: np.ndarray | None
    ) -> MappedImages:
        """Some rows of a split's images, mapped, with the labels of all of them.

        Raises:
            AttnFlowError: their file is damaged.
        """
        file = self._file(split, "images")
        read_npy(file, np.uint8, (self.decode.channels, *self.decode.size), REMEDY)
        fields = {} if labels is None else {"label": torch.from_numpy(labels)}
        return MappedImages(file, rows, num_bits, **fields)

    def make(self, splits: Mapping[str, SplitOfStream]) -> None:
        """Read the stream into a folder of another name, renamed when it is whole.

        Where several processes do so at once, one's folder stays.

        Raises:
            WriteError: the disk is full, or whatever else is wrong with it.
            AttnFlowError: as for :class:`CellDecoder`; more or fewer rows than were told.
        """
        with whole_folder(self.folder, lambda: self.is_whole) as temporary:
            counts = {name: self._keep(temporary, name, told) for name, told in splits.items()}
            write_whole(temporary / COUNTS, json.dumps(counts))

    @property
    def _counts(self) -> dict[str, dict[str, int]]:
        return json.loads((self.folder / COUNTS).read_text())

    def _file(self, split: str, kind: str) -> Path:
        return self.folder / f"{split}_{kind}.npy"

    def _keep(self, folder: Path, split: str, told: SplitOfStream) -> dict[str, int]:
        """Write a split's .npy files; returns how many images are kept and how many are damaged."""
        log.info("reading %s images of %s, once: %s", f"{told.length:,}", told.origin, self.folder)
        shape = (told.length, self.decode.channels, *self.decode.size)
        images = create_npy(folder / f"{split}_images.npy", shape)
        labels, kept, number = np.zeros(told.length, np.int64), 0, 0
        for number, row in enumerate(_rows(told), start=1):
            name = f"row {number - 1} of {told.origin}"
            if number > told.length:
                break
            try:
                images[kept] = self.decode(row["image"], name, remote=True).numpy()
            except CorruptImage as error:
                if not self.skip_corrupt:
                    raise
                log.warning("skipped: %s", error)
                continue
            labels[kept] = whole_number(row["label"], name) if "label" in row else 0
            kept += 1
        if number != told.length:
            least = "more" if number > told.length else f"{number}"
            raise AttnFlowError(
                f"{told.origin}: expected {told.length} rows, as the data set tells, got {least}."
            )
        if not kept:
            raise AttnFlowError(
                f"{told.origin}: expected one readable image or more, got {number}, all corrupt."
            )
        images.flush()
        np.save(folder / f"{split}_labels.npy", labels)
        return {"images": kept, "damaged": number - kept}


def whole_number(label: object, name: str) -> int:
    """A row's label; raises :class:`AttnFlowError` where there is none."""
    if not isinstance(label, int):
        raise AttnFlowError(f"{name}: expected a whole number as its label, got {label!r}.")
    return label


def _rows(told: SplitOfStream) -> Iterator[Mapping[str, Any]]:
    """The rows of a stream; its own errors, of many kinds, as one sentence."""
    try:
        yield from told.rows
    except Exception as error:
        words = " ".join(str(error).split())[:200]
        raise AttnFlowError(
            f"{told.origin}: expected a stream that can be read to its end, got "
            f"{type(error).__name__} ({words})."
        ) from error
