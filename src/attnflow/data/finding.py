"""The image files below a folder, and what else lies there."""

from __future__ import annotations

import os
import stat
from array import array
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import overload

from attnflow.errors import AttnFlowError

__all__ = [
    "FileList",
    "Found",
    "data_folder",
    "entries",
    "find_files",
    "is_hidden",
    "printable",
    "shown",
]

# Names that tools and systems give to what they put into users' folders, in lower case.
TOOLS = {
    *("__macosx", "__pycache__", "@eadir", "#recycle", "$recycle.bin", "recycler", "lost+found"),
    *("system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini", "cvs", "icon\r"),
}
HIDDEN = "hidden or a tool's own"
BROKEN = "broken links"
REPEATED = "reached twice by links"
SPECIAL = "pipes, sockets or devices"


@dataclass(frozen=True)
class Found:
    """The files of a folder that are wanted, and a count of what is not.

    Attributes:
        folder: that was looked through.
        files: in the order of their paths.
        real: the path of each by what it is behind all links, symbolic and hard ones.
        left_out: how many entries were left out, by the reason.
    """

    folder: Path
    files: Sequence[Path] = ()
    real: dict[Hashable, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)


def find_files(folder: Path, suffixes: Collection[str]) -> Found:
    """All files below ``folder`` with one of ``suffixes`` (lower case), whatever their case.

    What starts with a dot or is a tool's own is left out, folders with all they hold. Links are
    followed. A folder or file that several links lead to is taken once, at the first of its
    paths, so that links in a circle end.

    Raises:
        AttnFlowError: there is no such folder, or one that may not be read.
    """
    if not os.path.isdir(folder):
        state = "a file" if os.path.exists(folder) else "a path that does not exist"
        raise AttnFlowError(
            f"the folder {shown(folder)}: expected a folder of images, which data.data_dir=PATH "
            f"names (to eval.py too), got {state}."
        )
    paths: list[str] = []
    real_paths: dict[Hashable, str] = {}  # fewer, where hard links are among them
    left_out: Counter[str] = Counter()
    folders = [(folder, os.path.realpath(folder))]
    seen = {folders[0][1]}
    for parent, real_parent in folders:  # grows
        for entry in entries(parent):
            real = os.path.join(real_parent, entry.name)
            if entry.is_symlink():
                real = os.path.realpath(entry.path)
            reason = _why_not(entry, real in seen, suffixes)
            if reason:
                left_out[reason] += 1
                continue
            if entry.is_dir():
                seen.add(real)
                folders.append((parent / entry.name, real))
                continue
            path = str(parent / entry.name)
            real = path if real == path else real  # one text where both are the same
            seen.add(real)
            paths.append(path)
            real_paths[_hard_linked(entry) or real] = path
    paths.sort(key=lambda path: path.split(os.sep))  # by the folders' names, then their own
    return Found(folder, FileList(folder, paths), real_paths, left_out)


class FileList(Sequence[Path]):
    """The paths of files below a folder, in a tenth of the memory that as many ``Path`` take.

    Args:
        folder: that they lie in.
        paths: of the files, with the folder's.
    """

    def __init__(self, folder: Path, paths: Iterable[str]) -> None:
        self.folder = folder
        within = os.path.join(folder, "")
        names = bytearray()
        ends = array("q", [0])
        for path in paths:
            names += os.fsencode(path.removeprefix(within))
            ends.append(len(names))
        self._names, self._ends = bytes(names), ends

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> FileList: ...
    def __getitem__(self, index: int | slice) -> Path | FileList:
        if isinstance(index, slice):
            return self.of_rows(range(*index.indices(len(self))))
        place = range(len(self))[index]
        return self.folder / os.fsdecode(self._names[self._ends[place] : self._ends[place + 1]])

    @property
    def names(self) -> Iterator[bytes]:
        """Their paths within the folder of all, one after the other."""
        for start, end in pairwise(self._ends):
            yield self._names[start:end]

    @property
    def folders(self) -> set[str]:
        """The folders that they lie in, within that of all; "" for itself."""
        return {os.fsdecode(folder) for folder in set(map(os.path.dirname, self.names))}

    def of_rows(self, rows: Iterable[int]) -> FileList:
        """Those of these numbers, in this order."""
        return FileList(self.folder, (str(self[row]) for row in rows))


def entries(folder: Path) -> list[os.DirEntry]:
    """List a folder's entries by name."""
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise AttnFlowError(
            f"the folder {shown(folder)}: expected one that may be read, got '{error.strerror}'."
        ) from error


def is_hidden(name: str) -> bool:
    """Whether a name marks a file or folder as no data: hidden, or a tool's own."""
    return name.startswith(".") or name.lower() in TOOLS


def data_folder(data_dir: str) -> Path:
    """The absolute path of the option ``data.data_dir``; ``~`` is the user's home."""
    if not isinstance(data_dir, (str, os.PathLike)) or not str(data_dir):
        raise AttnFlowError(f"data.data_dir: expected the path of a folder, got {data_dir!r}.")
    return Path(os.path.expanduser(data_dir)).absolute()


def shown(path: Path) -> str:
    """A path as a message tells it: on one line, whatever characters its name has."""
    return printable(str(path))


def printable(name: str) -> str:
    """Text as a message tells it: on one line."""
    return name if name.isprintable() else repr(name)


def _hard_linked(entry: os.DirEntry) -> tuple[int, int] | None:
    """Return the device and inode that hard links share; None for a file with a single name."""
    state = entry.stat()
    return (state.st_dev, state.st_ino) if state.st_nlink > 1 else None


def _why_not(entry: os.DirEntry, seen: bool, suffixes: Collection[str]) -> str | None:
    """Why an entry is left out; None where it is a folder to look through or a wanted file."""
    if is_hidden(entry.name):
        return HIDDEN
    try:
        mode = entry.stat().st_mode
    except OSError:  # a link to nothing, or to itself
        return BROKEN
    if stat.S_ISREG(mode):
        suffix = Path(entry.name).suffix.lower()
        if suffix not in suffixes:
            return f"{shown(Path(suffix))} files" if suffix else "files without suffix"
    elif not stat.S_ISDIR(mode):
        return SPECIAL
    return REPEATED if seen else None
