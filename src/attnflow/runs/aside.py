"""An earlier run that is put aside, and put back where the one in its place comes to nothing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attnflow.runs.folder_lock import LOCK
from attnflow.runs.names import ASIDE, CANDIDATE, RECORDS
from attnflow.utils.files import new_folder

__all__ = ["put_aside", "put_back"]


@dataclass(frozen=True)
class Aside:
    """What was moved within a folder.

    Attributes:
        place: that it was moved to.
        names: what was moved, in its order.
        left: the names of what stayed in the folder.
    """

    place: Path
    names: list[str]
    left: set[str]


# What this process has put aside for the command that it runs, by folder.
_moved: dict[Path, Aside] = {}


def put_aside(folder: Path, paths: Sequence[Path]) -> None:
    """Move files of a folder to a subfolder of it, in this order; nothing is deleted."""
    _moved.pop(folder.resolve(), None)
    if not paths:
        return
    place = new_folder(folder / ASIDE)
    for path in paths:
        path.rename(place / path.name)
    left = {path.name for path in folder.iterdir()}
    _moved[folder.resolve()] = Aside(place, [path.name for path in paths], left)
    print(f"What lay in {folder} lies in {place} now.")


def put_back(folder: Path) -> bool:
    """Undo :func:`put_aside` for a command that has written nothing but records of its start.

    Returns:
        Whether that was so; else all stays as it is.
    """
    aside = _moved.pop(folder.resolve(), None)
    if aside is None:
        return False
    records = {path for path in folder.iterdir() if path.name not in aside.left}
    if not {path.name for path in records} <= {*RECORDS, CANDIDATE, LOCK}:
        return False
    for path in records:
        if path.name != LOCK:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    # The checkpoints, moved last, come first: where they are, the run is.
    for name in reversed(aside.names):
        (aside.place / name).rename(folder / name)
    aside.place.rmdir()
    print(f"Nothing was begun: what lay in {aside.place} lies in {folder} again.")
    return True
