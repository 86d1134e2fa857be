"""Images in rows of a memory-mapped Arrow table, decoded at every read."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
import numpy as np
import torch
from torch import Tensor

from attnflow.data.bit_depth import reduce_bits
from attnflow.data.decoding import CorruptImage, as_tensor, read_image
from attnflow.data.fitting import fitted
from attnflow.data.marks import FIRST_BYTES, looked_into_every, size_of
from attnflow.data.samples import Samples
from attnflow.data.transparency import Colour
from attnflow.errors import AttnFlowError

__all__ = ["ArrowImages", "CellDecoder", "check_rows", "opened_cell", "table_traits"]

log = logging.getLogger(__name__)

CHUNK = 256  # rows that are read at once where all are


@dataclass(frozen=True)
class CellDecoder:
    """How a cell of an image column becomes an image.

    Attributes:
        size: (height, width) of the images.
        scale: whether images of other sizes are scaled; else they are refused.
        channels, convert, background: as :func:`~attnflow.data.decoding.decode` takes them.
        num_bits: bits of a grey value, 1 to 8.
    """

    size: tuple[int, int]
    scale: bool
    channels: int
    convert: bool
    background: Colour
    num_bits: int = 8

    def __call__(self, cell: object, name: str, remote: bool = False) -> Tensor:
        """The image: uint8, (C, H, W).

        Args:
            cell: of the column, bytes or a mapping of ``bytes`` and ``path``.
            name: of the image, for messages.
            remote: whether a path may lead to another machine, as a stream's do.

        Raises:
            CorruptImage: damaged or truncated.
            AttnFlowError: as for :func:`~attnflow.data.decoding.decode` and
                :func:`~attnflow.data.fitting.fitted`; no image in the cell.
        """
        with opened_cell(cell, name, remote) as opened:
            found = read_image(opened, name, self.background)
        image = as_tensor(found, self.channels, self.convert, name)
        return reduce_bits(fitted(image, self.size, self.scale, name), self.num_bits)


def opened_cell(cell: object, name: str, remote: bool = False) -> BinaryIO:
    """The encoded image of a cell, to be read; arguments and errors as of :class:`CellDecoder`."""
    content = cell if isinstance(cell, bytes) else None
    path = None
    if isinstance(cell, Mapping):
        content, path = cell.get("bytes"), cell.get("path")
    if content is not None:
        return io.BytesIO(content)
    if path is None:
        raise AttnFlowError(f"{name}: expected an image, got an empty cell.")
    try:
        if not remote:
            return Path(path).open("rb")
        return cast(Any, fsspec.open(path, "rb")).open()
    except Exception as error:  # of a network, anything
        words = " ".join(str(error).split())[:200]
        raise AttnFlowError(
            f"{name}: expected an image, got the path {path}, which cannot be read ({words})."
        ) from error


class ArrowImages(Samples):
    """Some rows of a table of the library ``datasets``: only what is read comes into memory.

    A worker that is not forked maps the table's files itself.

    Args:
        table: with a column ``image``, and ``label`` where there are labels.
        rows: those that are taken, in this order.
        decode: what a cell becomes an image by.
        origin: of the table, for messages.
    """

    def __init__(self, table: Any, rows: np.ndarray, decode: CellDecoder, origin: str) -> None:
        self.table, self.rows, self.decode, self.origin = table, rows, decode, origin

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> dict[str, Tensor]:
        """A batch: torch's DataLoader calls this instead of reading and stacking samples."""
        rows = self.rows[np.asarray(indices)].tolist()
        held = cast(dict[str, list], self.table[rows])
        images = [
            self.decode(cell, f"row {row} of {self.origin}")
            for cell, row in zip(held["image"], rows, strict=True)
        ]
        batch = {"image": torch.stack(images), "index": torch.as_tensor(indices)}
        return batch | {name: torch.tensor(held[name]) for name in held if name != "image"}


def table_traits(table: Any, rows: np.ndarray) -> Iterator[bytes]:
    """What rows of a table tell without being decoded: names of files, sizes in bytes, labels.

    A few images are looked into, as :func:`~attnflow.data.marks.file_traits` does it.

    Args:
        table: as for :class:`ArrowImages`.
        rows: those that are taken, sorted.
    """
    start, step = 0, looked_into_every(len(rows))
    for batch in table.with_format("arrow")[:].to_batches(max_chunksize=CHUNK):  # mapped, no copy
        first, last = np.searchsorted(rows, [start, start + len(batch)])
        taken = rows[first:last] - start
        start += len(batch)
        told = [_cell_traits(batch.column("image"))]
        if "label" in batch.schema.names:
            told.append(batch.column("label").to_pylist())
        for number, row in enumerate(taken.tolist(), start=int(first)):
            yield repr([column[row] for column in told]).encode()
            if number % step == 0:
                yield _start_of_cell(batch.column("image")[row].as_py())


def _start_of_cell(cell: object) -> bytes:
    """The first bytes of the encoded image in a cell; nothing of one that cannot be read."""
    try:
        with opened_cell(cell, "") as opened:
            return opened.read(FIRST_BYTES)
    except (AttnFlowError, OSError):
        return b""


def _cell_traits(cells: Any) -> list[tuple[str, int | None]]:
    """The name of the file that each cell of a column of images was, and its size."""
    import pyarrow
    import pyarrow.compute

    compute = cast(Any, pyarrow.compute)
    if not pyarrow.types.is_struct(cells.type):
        return [("", size) for size in compute.binary_length(cells).to_pylist()]
    names = {field.name for field in cells.type}
    sizes = compute.binary_length(compute.struct_field(cells, "bytes")).to_pylist()
    paths = (
        compute.struct_field(cells, "path").to_pylist() if "path" in names else [None] * len(sizes)
    )
    return [
        (os.path.basename(path or ""), size_of(path) if size is None and path else size)
        for path, size in zip(paths, sizes, strict=True)
    ]


def check_rows(samples: ArrowImages, most: int | None, skip_corrupt: bool) -> ArrowImages:
    """The samples that can be decoded, each of which is, here and now.

    Args:
        samples: of a split.
        most: how many are decoded, spread over them; None for all.
        skip_corrupt: leave those out that cannot be decoded, with a warning.

    Raises:
        AttnFlowError: a bad image, or a corrupt one unless they are to be skipped; all of them
            corrupt.
    """
    number = len(samples)
    tried = min(most or number, number)
    places = np.linspace(0, number - 1, tried).round().astype(np.int64)
    damaged: list[int] = []
    for chunk in np.array_split(places, -(-tried // CHUNK)):
        try:
            samples.__getitems__(chunk)
        except CorruptImage:
            if not skip_corrupt:
                raise
            damaged += _corrupt(samples, chunk.tolist())
    if len(damaged) == number:
        raise AttnFlowError(
            f"{samples.origin}: expected one readable image or more, got {number}, all corrupt."
        )
    rows = np.delete(samples.rows, damaged)
    return ArrowImages(samples.table, rows, samples.decode, samples.origin)


def _corrupt(samples: ArrowImages, places: Sequence[int]) -> list[int]:
    """Those of a few samples that cannot be decoded."""
    damaged = []
    for place in places:
        try:
            _ = samples[place]
        except CorruptImage as error:
            log.warning("skipped: %s", error)
            damaged.append(place)
    return damaged
