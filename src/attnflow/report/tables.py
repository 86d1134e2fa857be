"""The tables of a report: Markdown to read, CSV to compute with."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from attnflow.report.runs import DONE, Run
from attnflow.report.sweep import Figure, Setting, Sweep

__all__ = [
    "cell",
    "columns",
    "first_line",
    "markdown_table",
    "run_rows",
    "setting_rows",
    "spoken",
    "write_csv",
]

# The figures that a table shows, of those that the runs have; a CSV file holds all.
SHOWN = (
    "val/bpd",
    "test/bpd",
    "test/bpd_importance",
    "test/fid",
    "test/kid_mean",
    "test/inception_score",
    "test/fd_domain",
    "test/bayes_accuracy",
    "test/psnr_mean",
    "test/ssim_mean",
    "test/nearest_neighbour_distance",
    "test/round_trip_max",
    "test/out_of_range",
    "params",
    "images_per_second",
    "wall_seconds",
)
NOTHING = "-"


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


def setting_rows(sweep: Sweep) -> tuple[list[str], list[list[str]]]:
    """A row a setting, best first, with means and spreads over its runs."""
    names = columns(sweep)
    rows = [
        [*setting.values, _counted(setting), *(cell(name, setting.figure(name)) for name in names)]
        for setting in sweep.settings
    ]
    return [*sweep.factors, "runs", *names], rows


def run_rows(sweep: Sweep) -> tuple[list[str], list[list[str]]]:
    """A row a run, best first; what is wrong with it in the last column."""
    names, varying = columns(sweep), sweep.varying
    rows = [
        [
            run.name,
            *(run.setting(key) for key in varying),
            run.status,
            *(cell(name, _alone(run, name)) for name in names),
            first_line(run.note),
        ]
        for run in sweep.ranked
    ]
    return ["run", *varying, "status", *names, "note"], rows


def first_line(note: str) -> str:
    """A note in a line: of a traceback, the error at its end."""
    lines = note.strip().splitlines() or [""]
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def _counted(setting: Setting) -> str:
    """How many runs are finished, out of how many where some are not."""
    done = sum(run.status == DONE for run in setting.runs)
    return str(done) if done == len(setting.runs) else f"{done} of {len(setting.runs)}"


def _alone(run: Run, name: str) -> Figure | None:
    value = run.figures.get(name)
    return None if value is None else Figure(value, None, 1)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The rows as a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    escaped = [[text.replace("|", "\\|") for text in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in escaped) + "\n"


def write_csv(sweep: Sweep, path: Path) -> None:
    """Every run with all of its settings that vary and all of its figures, unrounded."""
    names = list({name: None for run in sweep.ranked for name in run.figures})
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run", *sweep.varying, "status", *names, "note"])
        for run in sweep.ranked:
            settings = [run.setting(key) for key in sweep.varying]
            figures = [run.figures.get(name) for name in names]
            writer.writerow([run.name, *settings, run.status, *figures, first_line(run.note)])
