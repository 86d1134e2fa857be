"""A report's files: HTML, Markdown, CSV and SVG."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import quote

from attnflow.errors import AttnFlowError
from attnflow.report.contents import Report, compare
from attnflow.report.page import render
from attnflow.report.runs import DAMAGED, NEVER_STARTED, Run, read_runs
from attnflow.report.tables import csv_text
from attnflow.runs.names import SWEEP
from attnflow.utils.files import write_whole

__all__ = ["write_report"]

log = logging.getLogger(__name__)

MOST_NAMED = 8  # of the settings that are near an unknown one


def write_report(
    folder: Path, metric: str | None = None, most_pictured: int = 24, by: Sequence[str] = ()
) -> Path:
    """Compare the runs in a folder; writes ``report/`` into it, of a single run beside it.

    Runs on other images, and evaluations, are compared in tables of their own.

    Args:
        folder: of a sweep, or of several runs.
        metric: what the runs are sorted by; None for val/bpd, or test/bpd where it is missing.
        most_pictured: of how many of the best runs of a table the page holds the pictures.
        by: settings that rows are made of, each over all runs with the same values; none for all
            settings that vary.

    Returns:
        The HTML page; beside it lie ``report.md``, ``runs.csv`` and the charts as SVG.

    Raises:
        AttnFlowError: no such folder, no run in it, no run with the metric or the setting, or
            nowhere to write to.
    """
    runs = read_runs(folder)
    check_metric(metric, runs)
    check_settings(by, runs)
    if most_pictured < 0:
        raise AttnFlowError(f"pictures: expected 0 or more, got {most_pictured}.")
    directory = report_folder(folder, runs)
    for run in runs:
        if run.status == DAMAGED:
            log.warning("run %s is damaged: %s", run.name, run.note)
    links = {run.name: _link(run, directory) for run in runs if run.status != NEVER_STARTED}
    sections = compare(runs, metric, by)
    report = Report(_title(folder), runs, sections, links, most_pictured)
    files = {
        **{name: svg for name, (_, svg) in report.charts.items()},
        "runs.csv": csv_text(report.in_order, report.varying),
        "report.md": render("report.md.j2", report),
        "index.html": render("index.html.j2", report),
    }
    for name, text in files.items():
        # A folder's name may hold bytes that are no UTF-8.
        write_whole(directory / name, text.encode(errors="backslashreplace"))
    return directory / "index.html"


def check_metric(metric: str | None, runs: Sequence[Run]) -> None:
    """Raise :class:`AttnFlowError` for a metric that no run has."""
    known = sorted({name for run in runs for name in run.figures})
    if metric is not None and metric not in known:
        raise AttnFlowError(
            f"metric is {metric!r}, which no finished run has; accepted are "
            f"{', '.join(known) or 'none, as no run is finished'}."
        )


def check_settings(keys: Sequence[str], runs: Sequence[Run]) -> None:
    """Raise :class:`AttnFlowError` for a setting that no run has, with those near it."""
    known = sorted({key for run in runs for key in run.settings if not key.startswith("hydra.")})
    for key in keys:
        if key in known:
            continue
        ends = [name for name in known if name.endswith(f".{key}") or name.startswith(f"{key}.")]
        near = list(dict.fromkeys([*ends, *get_close_matches(key, known, MOST_NAMED, 0.6)]))
        told = f"near it are {', '.join(near[:MOST_NAMED])}" if near else "none is near it"
        raise AttnFlowError(
            f"by: expected settings of these runs, as attention or model.levels, got {key!r}; "
            f"{told}."
        )


def report_folder(folder: Path, runs: Sequence[Run]) -> Path:
    """Where the report goes: never into a run's own folder."""
    root = folder.resolve()
    if [run.name for run in runs] == ["."]:
        return root.with_name(f"{root.name}_report")
    directory = root / "report"
    if any(run.name.split(os.sep)[0] == "report" for run in runs):
        raise AttnFlowError(f"{directory}: expected a folder for the report, got a run's.")
    return directory


def _title(folder: Path) -> str:
    """What the runs are, by the folder that they lie in."""
    root = folder.resolve()
    is_sweep = (folder / SWEEP).exists()
    return f"Sweep {root.name}" if is_sweep else f"Runs in {root.parent.name}/{root.name}"


def _link(run: Run, directory: Path) -> str:
    """A run's folder, from that of the report."""
    way = os.path.relpath(run.folder.absolute(), directory)
    return quote(os.fsencode(f"{way}/"))
