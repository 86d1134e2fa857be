"""One process a folder: a lock that ends with the process that holds it, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path

from attnflow.errors import AttnFlowError

__all__ = ["LOCK", "held_folders", "is_held", "lock_folder", "release_folder", "wait_for_folder"]

LOCK = ".lock"
# The errors of a file system without locks, on which folders go unguarded.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
# The descriptor of each folder's lock file, and the process that took the lock.
_held: dict[Path, tuple[int, int]] = {}


def lock_folder(folder: Path, option: str) -> None:
    """Hold ``folder`` until :func:`release_folder` or the end of this process.

    The lock is a record lock: child processes don't inherit it, a kill releases it, and NFS
    keeps it between machines.

    Args:
        folder: exists.
        option: that named the folder, for the message.

    Raises:
        AttnFlowError: another process holds it, or its lock file is a link.
    """
    folder = folder.resolve()
    if folder in _held:
        return
    _check_own(folder, option)
    descriptor = _open(folder)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_there(descriptor, folder):  # released, and so removed, since it was opened
            os.close(descriptor)
            return lock_folder(folder, option)
    except OSError as error:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        os.close(descriptor)
        if error.errno in NO_LOCKS:
            return
        raise AttnFlowError(
            f"{option}: expected a folder that no other process writes to, got {folder}, which "
            f"{holder or 'another process'} writes to now."
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    _held[folder] = descriptor, os.getpid()


def _check_own(folder: Path, option: str) -> None:
    """Raise :class:`AttnFlowError` where what this process will write into lies elsewhere."""
    path = folder / LOCK
    if path.is_symlink() or (path.exists() and not path.is_file()):
        kind = "a link" if path.is_symlink() else "no file"
        raise AttnFlowError(
            f"{option}: expected a folder with a lock of its own, got {folder}, whose {LOCK} is "
            f"{kind}; without it, the folder can be used."
        )


def _open(folder: Path) -> int:
    """The descriptor of a folder's lock file, which is made where it is missing."""
    return os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)


def _as_it_lies(path: str, flags: int) -> int:
    """Open a file that is no link, without waiting for whoever writes to a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _is_there(descriptor: int, folder: Path) -> bool:
    """Whether a folder's lock file is the one that was opened."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), (folder / LOCK).stat())
    return False


def release_folder(folder: Path) -> None:
    """Release a folder, if this process holds it; its lock file, which names this machine, goes."""
    folder = folder.resolve()
    descriptor, holder = _held.pop(folder, (None, None))
    if descriptor is None:
        return
    with suppress(OSError):
        if holder == os.getpid():  # no child of the one that holds it
            (folder / LOCK).unlink()
    with suppress(OSError):
        os.close(descriptor)


def held_folders() -> list[Path]:
    """The folders that this process holds."""
    return list(_held)


def is_held(folder: Path) -> bool:
    """Whether another process holds ``folder``, as a run does until it ends."""
    with suppress(OSError), open(folder / LOCK, "rb", opener=_as_it_lies) as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return True
    return False


def wait_for_folder(folder: Path) -> None:
    """Wait until no other process holds ``folder``."""
    # Without a file none does; with one, it may be on a file system without locks.
    with suppress(OSError), open(folder / LOCK, "r+b", opener=_as_it_lies) as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
