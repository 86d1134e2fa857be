"""The numbers of a run: results.json, the table on the screen, and what was logged by step."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

__all__ = ["print_table", "read_curve", "read_results", "write_results"]

FILE_NAME = "results.json"

Curve = tuple[list[int], list[float]]  # steps and values


def write_results(directory: Path, results: Mapping[str, float | int | str]) -> Path:
    """Write ``results.json``, flat; a figure that is not finite becomes null."""
    path = directory / FILE_NAME
    clean = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in results.items()
    }
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(clean, indent=2) + "\n")
    temporary.replace(path)
    return path


def read_results(directory: Path) -> dict[str, float | int | str | None]:
    """What :func:`write_results` wrote."""
    return json.loads((directory / FILE_NAME).read_text())


def print_table(results: Mapping[str, object], notes: Mapping[str, object]) -> None:
    """The figures as a table, then where things lie, one line each."""
    table = Table("metric", "value", title="final metrics")
    for name, value in results.items():
        table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    console = Console(soft_wrap=True)
    console.print(table)
    for name, value in notes.items():
        console.print(f"{name}: {value}", highlight=False)


def read_curve(run_dir: Path, name: str) -> Curve:
    """What the CSV logger of a run wrote under ``name``; a resumed run's files are joined.

    Returns:
        Steps and finite values, in order; empty where nothing was logged.
    """
    values: dict[int, float] = {}
    files = (run_dir / "csv").rglob("metrics.csv")
    for path in sorted(files, key=lambda path: path.stat().st_mtime):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row.get(name) and row.get("step") and math.isfinite(float(row[name])):
                    values[int(row["step"])] = float(row[name])
    steps = sorted(values)
    return steps, [values[step] for step in steps]
