"""Patches of photographs in .npy files, cut once and then mapped."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL
from PIL import Image

from attnflow.data.decoding import CorruptImage, as_mode, open_image
from attnflow.data.finding import shown
from attnflow.data.mapped import create_npy, read_npy
from attnflow.data.transparency import Colour
from attnflow.errors import AttnFlowError
from attnflow.utils.files import whole_folder, write_whole

__all__ = ["Cutting", "PatchCache", "SplitCounts"]

log = logging.getLogger(__name__)

COUNTS = "counts.json"  # in a cache's folder, beside the .npy file of each split
REMEDY = "without the folder that it lies in, the patches are cut anew."
VERSION = 1  # of what is made of the same files and options


@dataclass(frozen=True)
class Cutting:
    """How photographs become patches.

    Attributes:
        size: side of a patch.
        strides: pixels from one patch to the next, by split.
        most: patches that are kept at most, by split; None keeps all.
        long_side: pixels of the longer side that larger photographs are scaled to, or None.
        channels, convert, background: as :func:`~attnflow.data.decoding.decode` takes them.
        skip_corrupt: leave out photographs that cannot be decoded, with a warning.
    """

    size: int
    strides: Mapping[str, int]
    most: Mapping[str, int | None]
    long_side: int | None
    channels: int
    convert: bool
    background: Colour
    skip_corrupt: bool

    def photograph(self, file: Path) -> Image.Image:
        """A file's photograph, scaled.

        Raises:
            AttnFlowError: it is smaller than a patch, or as for
                :func:`~attnflow.data.decoding.decode`.
        """
        opened = open_image(file, self.background)
        image = as_mode(opened, self.channels, self.convert, shown(file))
        if self.long_side is not None and self.long_side < max(image.size):
            scale = self.long_side / max(image.size)
            width, height = (max(round(scale * side), 1) for side in image.size)
            image = image.resize((width, height), Image.Resampling.LANCZOS)
        if min(image.size) < self.size:
            scaled = "" if image.size == opened.size else ", scaled to data.long_side"
            raise AttnFlowError(
                f"{shown(file)}: expected a photograph of {self.size} x {self.size} pixels "
                f"(data.size) or more, got {image.width} x {image.height}{scaled}."
            )
        return image

    def number(self, shape: tuple[int, int, int], split: str) -> int:
        """How many patches a photograph (H, W, C) has."""
        rows, columns = ((side - self.size) // self.strides[split] + 1 for side in shape[:2])
        return rows * columns

    def windows(self, photograph: np.ndarray, split: str) -> np.ndarray:
        """All patches of a photograph (H, W, C), by row and column: (R, K, C, size, size)."""
        stride = self.strides[split]
        windows = np.lib.stride_tricks.sliding_window_view(photograph, (self.size,) * 2, (0, 1))
        return windows[::stride, ::stride]


@dataclass(frozen=True)
class SplitCounts:
    """What a split's patches come from: photographs, damaged ones apart, and all their patches."""

    photographs: int
    damaged: int
    patches: int


class PatchCache:
    """A folder with the patches of each split, called by a hash of all that decides them.

    Of all patches of a split, in the order of the files, the rows and the columns, those that are
    kept are the first ones of a permutation; one generator draws a permutation for each split.

    Args:
        folder: that holds the caches.
        files: of the photographs, by split.
        cutting: how they become patches.
    """

    def __init__(self, folder: Path, files: Mapping[str, Sequence[Path]], cutting: Cutting) -> None:
        self.files, self.cutting = files, cutting
        decided_by = [VERSION, PIL.__version__, asdict(cutting)]
        for split, listed in files.items():
            states = [(os.path.realpath(file), os.stat(file)) for file in listed]
            decided_by.append([split, [(f, s.st_size, s.st_mtime_ns) for f, s in states]])
        key = hashlib.sha256(json.dumps(decided_by).encode()).hexdigest()[:16]
        self.folder = folder / f"{cutting.size}x{cutting.size}_{key}"

    @property
    def is_whole(self) -> bool:
        """Whether the patches have been cut."""
        return (self.folder / COUNTS).is_file()

    def file(self, split: str) -> Path:
        """The .npy file of a split: (N, C, size, size), uint8."""
        return self.folder / f"{split}.npy"

    def counts(self, split: str) -> SplitCounts:
        """What the patches of a split come from."""
        return SplitCounts(**json.loads((self.folder / COUNTS).read_text())[split])

    def number(self, split: str) -> int:
        """How many patches of a split are kept.

        Raises:
            AttnFlowError: its file is damaged.
        """
        shape = (self.cutting.channels, self.cutting.size, self.cutting.size)
        return len(read_npy(self.file(split), np.uint8, shape, REMEDY))

    def make(self) -> None:
        """Cut the patches into a folder of another name, renamed when it is whole.

        Where several processes do so at once, one's folder stays.

        Raises:
            WriteError: the disk is full, or whatever else is wrong with it.
            AttnFlowError: as for :meth:`Cutting.photograph`; all photographs of a split corrupt.
        """
        number = sum(map(len, self.files.values()))
        log.info("cutting %s photographs into patches, once: %s", f"{number:,}", self.folder)
        generator = np.random.RandomState(0)
        with whole_folder(self.folder, lambda: self.is_whole) as temporary:
            counts = {split: asdict(self._cut(temporary, split, generator)) for split in self.files}
            write_whole(temporary / COUNTS, json.dumps(counts))

    def _cut(self, folder: Path, split: str, generator: np.random.RandomState) -> SplitCounts:
        """Write a split's .npy file."""
        cutting = self.cutting
        # All photographs must be known before the first patch has its place; decoded once, they
        # wait in a file without a name.
        with tempfile.TemporaryFile(dir=folder) as waiting:
            shapes = self._decode(split, waiting)
            starts = np.cumsum([0, *(cutting.number(shape, split) for shape in shapes)])
            kept = generator.permutation(int(starts[-1]))[: cutting.most[split]]
            places = np.argsort(kept)  # in the order of the photographs
            bounds = np.searchsorted(kept, starts, sorter=places)
            patches = create_npy(
                folder / f"{split}.npy", (len(kept), cutting.channels, cutting.size, cutting.size)
            )
            offset = 0
            for row, shape in enumerate(shapes):
                photograph = np.memmap(waiting, np.uint8, "r", offset, shape)
                offset += photograph.size
                windows = cutting.windows(photograph, split)
                here = places[bounds[row] : bounds[row + 1]]
                patches[here] = windows[np.divmod(kept[here] - starts[row], windows.shape[1])]
            patches.flush()
        damaged = len(self.files[split]) - len(shapes)
        return SplitCounts(len(shapes), damaged, int(starts[-1]))

    def _decode(self, split: str, waiting: BinaryIO) -> list[tuple[int, int, int]]:
        """Write a split's photographs one behind the other; returns their shapes (H, W, C)."""
        shapes = []
        for file in self.files[split]:
            try:
                image = self.cutting.photograph(file)
            except CorruptImage as error:
                if not self.cutting.skip_corrupt:
                    raise
                log.warning("skipped: %s", error)
                continue
            waiting.write(image.tobytes())
            shapes.append((image.height, image.width, self.cutting.channels))
        waiting.flush()
        if not shapes:
            raise AttnFlowError(
                f"the {split} split: expected photographs of which one or more are readable, got "
                f"{len(self.files[split])}, all corrupt."
            )
        return shapes
