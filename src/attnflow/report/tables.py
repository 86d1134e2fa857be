"""The tables of a report: Markdown to read, CSV to compute with."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

from attnflow.report.runs import Run
from attnflow.report.sweep import Figure, Sweep, figure_of

__all__ = [
    "Table",
    "cell",
    "csv_text",
    "first_line",
    "ranking",
    "run_table",
    "setting_table",
    "spoken",
]

# The figures that a table shows, beside the one that it is sorted by; a CSV file holds all.
SHOWN = (
    "val/bpd",
    "test/bpd",
    "val/noisy_bpd",
    "test/noisy_bpd",
    "params",
    "images_per_second",
)
MOST_SETTINGS = 5  # columns of settings; what else varies is told in one more
OTHER = "other settings"
NOTHING = "-"


class Table(NamedTuple):
    """What a report writes as HTML and as Markdown.

    Attributes:
        header: a name a column.
        rows: their texts.
        words: how many columns, from the left, are no numbers.
    """

    header: list[str]
    rows: list[list[str]]
    words: int


def columns(sweep: Sweep) -> list[str]:
    """The figures to show, what the runs are sorted by first."""
    known = {name for run in sweep.runs for name in run.figures}
    return [sweep.metric, *(name for name in SHOWN if name in known and name != sweep.metric)]


def cell(name: str, figure: Figure | None) -> str:
    """A figure in as many digits as say something, its spread after ±."""
    if figure is None:
        return NOTHING
    text = _number(name, figure.mean)
    if figure.spread is None or name in ("params", "wall_seconds"):
        return text
    return f"{text} ± {_number(name, figure.spread, abs(figure.mean))}"


def _number(name: str, value: float, size: float | None = None) -> str:
    """``value`` in the digits that suit a number of ``size``, by default its own."""
    size = abs(value) if size is None else size
    if name in ("params", "steps", "epochs"):
        return f"{value:,.0f}"
    if name == "wall_seconds":
        minutes, seconds = divmod(round(value), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
    if name == "test/out_of_range":
        return f"{100 * value:.1f}%"
    if value == 0:
        return "0"
    if size >= 1e9:
        return f"{value:.3g}"
    if size >= 100:
        return f"{value:,.0f}"
    if name == "images_per_second":
        return f"{value:.1f}"
    return f"{value:.3f}" if size >= 0.001 else f"{value:.1e}"


def spoken(name: str) -> str:
    """A figure's name as a heading."""
    return {"images_per_second": "images/s", "wall_seconds": "time"}.get(
        name, name.replace("_", " ")
    )


def setting_columns(keys: Sequence[str]) -> list[str]:
    """The columns of settings: the first few, and one for all others."""
    return [*keys[:MOST_SETTINGS], *[OTHER] * (len(keys) > MOST_SETTINGS)]


def setting_cells(keys: Sequence[str], values: Sequence[str]) -> list[str]:
    """What stands under :func:`setting_columns`."""
    rest = [
        f"{key}={value}"
        for key, value in list(zip(keys, values, strict=True))[MOST_SETTINGS:]
        if value
    ]
    shown = [value or NOTHING for value in values[:MOST_SETTINGS]]
    return [*shown, *[" ".join(rest) or NOTHING] * (len(keys) > MOST_SETTINGS)]


def ranking(sweep: Sweep) -> Table:
    """The table that compares.

    A row a setting, or a run where each setting has but one and no rows were asked for.
    """
    return setting_table(sweep) if sweep.repeated or sweep.by else run_table(sweep)


def setting_table(sweep: Sweep) -> Table:
    """A row a setting, best first, with means and spreads over its runs."""
    names, settings = columns(sweep), setting_columns(sweep.factors)
    rows = [
        [
            *setting_cells(sweep.factors, setting.values),
            str(len(setting.runs)),
            *(cell(name, setting.figure(name)) for name in names),
        ]
        for setting in sweep.settings
    ]
    return Table([*settings, "runs", *names], rows, words=len(settings))


def run_table(sweep: Sweep) -> Table:
    """A row a run that has figures, best first."""
    names, varying = columns(sweep), sweep.varying
    rows = [
        [
            run.name,
            *setting_cells(varying, [run.setting(key) for key in varying]),
            *(cell(name, figure_of([run], name)) for name in names),
        ]
        for run in sweep.ranked
    ]
    settings = setting_columns(varying)
    return Table(["run", *settings, *names], rows, words=1 + len(settings))


def first_line(note: str) -> str:
    """A note in a line: of a traceback, the error at its end."""
    lines = note.strip().splitlines() or [""]
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def csv_text(runs: Sequence[Run], varying: Sequence[str]) -> str:
    """Every run with the settings that vary and all of its figures, unrounded."""
    names = list({name: None for run in runs for name in run.figures})
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["run", "task", *varying, "status", *names, "note"])
    for run in runs:
        settings = [run.setting(key) for key in varying]
        figures = [run.figures.get(name) for name in names]
        note = first_line(run.note)
        writer.writerow([run.name, run.task, *settings, run.status, *figures, note])
    return file.getvalue()
