"""Disks that fail, for tests."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

import pytest

__all__ = ["FailingDisk", "small_files_only"]


class FailingDisk:
    """Makes the writing of some files fail, as a full or damaged disk does.

    Attributes:
        fails: error numbers by file name, or pattern of one, such as ``{"best.ckpt": ENOSPC}``.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.fails: dict[str, int] = {}
        replace = Path.replace

        def replace_unless_failing(path: Path, target: Path) -> Path:
            for pattern, number in self.fails.items():
                if fnmatch(Path(target).name, pattern):
                    raise OSError(number, os.strerror(number), str(target))
            return replace(path, target)

        patch.setattr(Path, "replace", replace_unless_failing)


@contextmanager
def small_files_only(size: int) -> Iterator[None]:
    """Let the system itself refuse, with EFBIG, to write a file of more than ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
