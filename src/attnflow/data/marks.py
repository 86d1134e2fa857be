"""Marks by which a split's images are known again: cheap of a million, the same anywhere."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from attnflow.data.finding import FileList

__all__ = [
    "FIRST_BYTES",
    "file_traits",
    "looked_into_every",
    "mark_of",
    "size_of",
    "start_of",
    "tensor_traits",
]

# Values that are looked at of a tensor of images; of one number an image, such as labels, all are.
LOOKED_AT = 2**20
# Of encoded images, how many are looked into at least (all of fewer), and how many bytes of each.
LOOKED_INTO, FIRST_BYTES = 16, 2**16


def mark_of(traits: Iterable[bytes] | None) -> str | None:
    """A hash of what tells images from others; None where nothing does."""
    if traits is None:
        return None
    made = hashlib.sha256()
    for trait in traits:
        made.update(trait)
    return made.hexdigest()[:16]


def file_traits(
    folder: Path, files: Sequence[Path], partner: Callable[[Path], Path] | None = None
) -> Iterator[bytes]:
    """The files' names below a folder, in their order, and their sizes in bytes.

    Not what is in them but for a few, as it takes long to read, nor their times, which a copy has
    anew.

    Args:
        folder: that they lie in, wherever that is.
        files: of a split.
        partner: the file that belongs to each, whose size counts too.
    """
    within = os.path.join(os.fsencode(folder), b"")
    names = files.names if isinstance(files, FileList) else (bytes(file) for file in files)
    step = looked_into_every(len(files))
    for number, name in enumerate(names):
        path = os.path.join(within, name)
        yield b"%s\0%d\n" % (path.removeprefix(within), size_of(path))
        if number % step == 0:
            yield start_of(path)
        if partner is not None:
            yield b"%d\n" % size_of(partner(Path(os.fsdecode(path))))


def looked_into_every(number: int) -> int:
    """Every how many of so many encoded images one is looked into."""
    return max(number // LOOKED_INTO, 1)


def start_of(file: bytes | str) -> bytes:
    """The first bytes of a file; nothing of one that is gone."""
    try:
        with open(file, "rb") as opened:
            return opened.read(FIRST_BYTES)
    except OSError:
        return b""


def size_of(file: bytes | str | Path) -> int:
    """A file's size in bytes; -1 of one that is gone."""
    try:
        return os.stat(file).st_size
    except OSError:
        return -1


def tensor_traits(fields: Mapping[str, Tensor]) -> Iterator[bytes]:
    """The fields of images in memory: shape and type, and the first values of each.

    Args:
        fields: tensors of as many rows as there are images, by their names.
    """
    for name, rows in fields.items():
        yield f"{name} {tuple(rows.shape)} {rows.dtype}\n".encode()
        values = max(rows[:1].numel(), 1)
        first = rows if values == 1 else rows[: -(-LOOKED_AT // values)]
        yield first.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
