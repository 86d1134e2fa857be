"""The table of a benchmark: on the screen and as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

__all__ = ["RESULTS", "save_table", "standard_error"]

RESULTS = Path(__file__).parent / "results"


def save_table(
    name: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> Path:
    """Print the rows, and write them to ``results/<name>.md``."""
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    lines = [title, "", "| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    path = RESULTS / f"{name}.md"
    path.write_text("\n".join(lines) + "\n")
    return path


def standard_error(values: Sequence[float]) -> float:
    """Of the mean; NaN for a single value."""
    if len(values) < 2:
        return float("nan")
    return statistics.stdev(values) / len(values) ** 0.5
