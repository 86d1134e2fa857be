"""Writing files: whole or not at all, whatever ends the process or fills the disk."""

from __future__ import annotations

import io
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from uuid import uuid4

from attnflow.errors import AttnFlowError

__all__ = [
    "WriteError",
    "flush_folder",
    "new_folder",
    "remove_leftovers",
    "serialized",
    "whole_folder",
    "write_whole",
]

SUFFIX = ".tmp"  # of a file that is being written
TEMPORARY = re.compile(rf".+\.\d+{re.escape(SUFFIX)}")  # its name, with the process's number


class WriteError(AttnFlowError):
    """A file that could not be written.

    Attributes:
        reason: in the words of the system, such as "No space left on device".
    """

    def __init__(self, path: Path, error: OSError) -> None:
        self.reason = error.strerror or str(error)
        super().__init__(f"{path} could not be written: {self.reason}.")


def write_whole(path: Path, content: bytes | memoryview | str, keep: Path | None = None) -> Path:
    """Write a temporary file beside ``path``, flush it to the disk and rename it.

    At every moment ``path`` is a whole file: the old one or the new one.

    Args:
        path: the file; its folder is made if it is not there.
        content: bytes, or text, which becomes UTF-8.
        keep: another name in the same folder, under which the old file stays.

    Raises:
        WriteError: the disk is full, the folder cannot be written to, ...; the old file is there
            still, and the temporary one is not.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}{SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        if keep and path.exists():
            _keep(path, keep)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise WriteError(path, error) from error
    flush_folder(path.parent)
    return path


@contextmanager
def whole_folder(folder: Path, is_whole: Callable[[], bool]) -> Iterator[Path]:
    """Give a folder of another name to write to, which becomes ``folder`` when all went well.

    Where several processes do so at once, one's folder stays.

    Args:
        folder: which is not there, or whole.
        is_whole: whether it is.

    Raises:
        WriteError: the disk is full, or whatever else is wrong with it.
    """
    temporary = folder.with_name(f"{folder.name}.{uuid4().hex}{SUFFIX}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.rename(folder)
    except OSError as error:
        if not is_whole():  # by another process, which was faster
            raise WriteError(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    flush_folder(folder.parent)


def new_folder(wanted: Path) -> Path:
    """Make a folder that was not there: the wanted one, or that name with a number."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}_{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable")


def serialized(value: object) -> memoryview:
    """Return what ``torch.save`` writes, whose own writer may end the process at a full disk."""
    # Imported here: who writes text alone, as a report does, should not wait for it.
    import torch

    content = io.BytesIO()
    torch.save(value, content)
    return content.getbuffer()


def remove_leftovers(folder: Path, older_than: float = 0.0) -> None:
    """Remove the temporary files that a kill has left in a folder.

    Those of :func:`write_whole` alone, and none where the folder is a link, which may lead to
    another's files.

    Args:
        folder: which need not be there.
        older_than: in seconds; above 0 where other processes may be writing.
    """
    if folder.is_symlink():
        return
    latest = time.time() - older_than
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(OSError):  # another process's, by now renamed
            if TEMPORARY.fullmatch(path.name) and path.stat().st_mtime <= latest:
                path.unlink()


def flush_folder(folder: Path) -> None:
    """Bring a rename to the disk, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _keep(path: Path, name: Path) -> None:
    """Give a file a second name, in one step; the file itself does not move."""
    link = name.with_name(f"{name.name}.{os.getpid()}{SUFFIX}")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:  # a file system without hard links: for a moment there is no file of its name
        link = path
    link.replace(name)
