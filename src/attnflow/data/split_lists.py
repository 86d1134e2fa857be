"""A list of files with the split of each, in a CSV file."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path

from attnflow.data.base import SPLITS
from attnflow.data.finding import Found, shown
from attnflow.errors import AttnFlowError

__all__ = ["read_split_list"]

HEADER = ["split", "path"]


def read_split_list(file: Path, folder: Path) -> dict[str, Found]:
    """The files of each split that a list names, in its order.

    Args:
        file: a CSV file whose first line is ``split,path``, and each other one such as
            ``train,holidays/1.jpg``.
        folder: that its paths start from.

    Raises:
        AttnFlowError: the list is missing or is no such list; an unknown split; a file that is
            missing, or is named twice, under whatever links.
    """
    found: dict[str, list[Path]] = {split: [] for split in SPLITS}
    lines: dict[tuple[int, int], int] = {}
    for number, split, path in _rows(file):
        place = f"{shown(file)}, line {number}"
        if split not in SPLITS:
            raise AttnFlowError(f"{place}: expected a split, {', '.join(SPLITS)}, got {split!r}.")
        listed = folder / path
        if not os.path.isfile(listed):
            raise AttnFlowError(
                f"{place}: expected a file below {shown(folder)} (data.data_dir), got {path!r}, "
                "which is no file there."
            )
        state = os.stat(listed)
        before = lines.setdefault((state.st_dev, state.st_ino), number)
        if before != number:
            raise AttnFlowError(
                f"{place}: expected each photograph once, got {path!r}, which line {before} names "
                "too; a photograph in one split is accepted."
            )
        found[split].append(listed)
    if not lines:
        raise AttnFlowError(f"{shown(file)}: expected lines such as train,1.jpg, got none.")
    return {split: Found(folder, files) for split, files in found.items() if files}


def _rows(file: Path) -> Iterable[tuple[int, str, str]]:
    """The lines of a list: their number, split and path."""
    try:
        rows = list(csv.reader(file.read_text("utf-8-sig").splitlines(), strict=True))
    except (OSError, UnicodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise AttnFlowError(
            f"data.split_file: expected a CSV file with lines such as train,1.jpg, got "
            f"{shown(file)}, which cannot be read ({reason})."
        ) from error
    for number, row in enumerate(rows, start=1):
        row = [field.strip() for field in row]
        if number == 1 and row != HEADER:
            raise AttnFlowError(
                f"{shown(file)}, line 1: expected {','.join(HEADER)}, got {','.join(row)!r}."
            )
        if number > 1 and any(row):
            if len(row) != len(HEADER) or not row[1]:
                raise AttnFlowError(
                    f"{shown(file)}, line {number}: expected a split and a path, got "
                    f"{','.join(row)!r}."
                )
            yield number, row[0], row[1]
