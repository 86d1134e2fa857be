"""The numbers of a run: results.json, the table on the screen, and what was logged by step."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from attnflow.errors import AttnFlowError
from attnflow.runs.reading import read_csv, read_json
from attnflow.utils.decoration import decoration
from attnflow.utils.files import write_whole

__all__ = [
    "STOPPED_BY",
    "check_finite",
    "measured",
    "print_notes",
    "print_table",
    "read_curve",
    "read_results",
    "write_results",
]

FILE_NAME = "results.json"
# The entries of results.json that are numbers or null; others are choices, and may be text.
SPLITS = ("train/", "val/", "test/")
# Of a split, one of them: of dequantized images, and of noisy ones, which is another figure.
MEASURES = ("bpd", "noisy_bpd")
NUMBERS = ("params", "images_per_second", "wall_seconds", "epochs", "steps", "seed")

# What ended a training before any other end did, in words: no choice of the config.
STOPPED_BY = "stopped_by"

Curve = tuple[list[int], list[float]]  # steps and values


def write_results(directory: Path, results: Mapping[str, float | int | str]) -> Path:
    """Write ``results.json``, flat; a figure that is not finite becomes null.

    Raises:
        WriteError: the disk is full, or whatever else is wrong with it.
    """
    clean = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in results.items()
    }
    return write_whole(directory / FILE_NAME, json.dumps(clean, indent=2) + "\n")


def check_finite(results: Mapping[str, float | int | None]) -> None:
    """Raise :class:`AttnFlowError` where the bits/dim of a split are no number, or not finite."""
    for name, value in results.items():
        checked = name in (measured(results, "val"), measured(results, "test"))
        if checked and (value is None or not math.isfinite(value)):
            raise AttnFlowError(
                f"{name}: expected a finite number, got {'null' if value is None else value}; the "
                "weights that it is of model nothing."
            )


def measured(results: Mapping[str, object], split: str) -> str | None:
    """The name under which results hold what a model is measured by, on ``val`` or ``test``.

    Returns:
        ``val/bpd``, or ``val/noisy_bpd`` of a model of noisy images; None where there is neither.
    """
    names = [f"{split}/{measure}" for measure in MEASURES]
    return next((name for name in names if name in results), None)


def read_results(directory: Path) -> dict[str, Any]:
    """Read what :func:`write_results` wrote.

    Raises:
        AttnFlowError: the file cannot be read, or holds something else.
    """
    path = directory / FILE_NAME
    held = read_json(path)
    if not isinstance(held, dict):
        raise AttnFlowError(f"{path}: expected names with their numbers, got {held!r:.80}.")
    for name, value in held.items():
        if name in NUMBERS or name.startswith(SPLITS):
            accepted = value is None or _is_finite(value)
        else:
            accepted = value is None or isinstance(value, (str, bool)) or _is_finite(value)
        if not accepted:
            raise AttnFlowError(f"{path}: {name}: expected a number, got {value!r:.80}.")
    return held


def _is_finite(value: object) -> bool:
    """Whether it is a number that a table can show."""
    return (type(value) is int or type(value) is float) and abs(value) <= sys.float_info.max


def print_table(results: Mapping[str, object]) -> None:
    """Print the figures as a table, before any of them is written: a full disk costs none."""
    table = Table("metric", "value", title="final metrics")
    for name, value in results.items():
        table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    with decoration("the table of figures"):  # whose output may be a full disk, too
        Console(soft_wrap=True).print(table)


def print_notes(notes: Mapping[str, object]) -> None:
    """Print where things lie, one line each."""
    with decoration("the list of files"):
        for name, value in notes.items():
            Console(soft_wrap=True).print(f"{name}: {value}", highlight=False)


def read_curve(run_dir: Path, name: str) -> Curve:
    """Read what the CSV logger of a run wrote under ``name``; a resumed run's files are joined.

    Returns:
        Steps and finite values, in order; empty where nothing was logged.

    Raises:
        AttnFlowError: a file cannot be read, or is no table of numbers.
    """
    values: dict[int, float] = {}
    for path in curve_files(run_dir):
        rows = list(read_csv(path))
        # What an earlier leg logged after the checkpoint that this one went on from is undone.
        start = min((row["step"] for row in rows), default=math.inf)
        values = {step: value for step, value in values.items() if step < start}
        values |= {
            int(row["step"]): row[name] for row in rows if name in row and math.isfinite(row[name])
        }
    steps = sorted(values)
    return steps, [values[step] for step in steps]


def curve_files(run_dir: Path) -> list[Path]:
    """The files of a run's CSV logger: one for each leg, in their order, or one for all."""
    legs = (run_dir / "csv").glob("version_*/metrics.csv")
    whole = (run_dir / "csv" / "metrics.csv", run_dir / "metrics.csv")
    return [
        *sorted(legs, key=lambda path: (len(path.parent.name), path.parent.name)),
        *(path for path in whole if os.path.lexists(path)),
    ]
