"""The table of a benchmark: on the screen and as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

__all__ = ["RESULTS", "save_table", "save_tables", "standard_error"]

RESULTS = Path(__file__).parent / "results"

# A title, the columns and the rows.
Contents = tuple[str, Sequence[str], Sequence[Sequence[str]]]


def save_table(
    name: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> Path:
    """Print the rows, and write them to ``results/<name>.md``."""
    return save_tables(name, [(title, columns, rows)])


def save_tables(name: str, tables: Sequence[Contents]) -> Path:
    """Print several tables, and write them to ``results/<name>.md``."""
    lines = []
    for title, columns, rows in tables:
        table = Table(*columns, title=title)
        for row in rows:
            table.add_row(*row)
        Console().print(table)
        lines += [title, "", "| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
        lines += [*("| " + " | ".join(row) + " |" for row in rows), ""]
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.md"
    path.write_text("\n".join(lines))
    return path


def standard_error(values: Sequence[float]) -> float:
    """Of the mean; NaN for a single value."""
    if len(values) < 2:
        return float("nan")
    return statistics.stdev(values) / len(values) ** 0.5
