"""A report's files: HTML, Markdown, CSV and SVG."""

from __future__ import annotations

from pathlib import Path

from attnflow.report.charts import curves, heat_map, trade_off
from attnflow.report.page import page
from attnflow.report.runs import read_runs
from attnflow.report.sweep import Sweep, more_is_better
from attnflow.report.tables import markdown_table, run_rows, setting_rows, spoken, write_csv

__all__ = ["write_report"]

COSTS = ("images_per_second", "params")


def write_report(folder: Path, metric: str | None = None, most_pictured: int = 24) -> Path:
    """Compare the runs in a folder; writes ``report/`` into it.

    Args:
        folder: of a sweep, or of several runs.
        metric: what the runs are sorted by; None for val/bpd, or test/bpd where it is missing.
        most_pictured: of how many of the best runs the page holds the pictures.

    Returns:
        The HTML page; beside it lie ``report.md``, ``runs.csv`` and the charts as SVG.

    Raises:
        AttnFlowError: no such folder, no run in it, or no run with the metric.
    """
    sweep = Sweep(read_runs(folder), metric)
    charts = draw_charts(sweep)
    kind = "Sweep" if (folder / "multirun.yaml").exists() else "Runs in"
    title = f"{kind} {folder.resolve().name}"
    directory = folder / "report"
    directory.mkdir(exist_ok=True)
    for name, (_, svg) in charts.items():
        (directory / f"{name}.svg").write_text(svg)
    write_csv(sweep, directory / "runs.csv")
    (directory / "report.md").write_text(_markdown(sweep, title, charts))
    html = page(sweep, title, dict(charts.values()), most_pictured)
    path = directory / "index.html"
    path.write_text(html)
    return path


def draw_charts(sweep: Sweep) -> dict[str, tuple[str, str]]:
    """A caption and an SVG by file name: heat maps of metric and cost, both together, curves."""
    drawn = {}
    for name in dict.fromkeys((sweep.metric, *COSTS)):
        better = "" if name == "params" else " (less is better)"
        if more_is_better(name):
            better = " (more is better)"
        across = " and ".join(sweep.axes)
        rest = [key for key in sweep.varying if key not in sweep.axes]
        over = f"; mean ± standard deviation over {', '.join(rest)}" if rest else ""
        caption = f"{spoken(name)}{better} by {across}{over}"
        drawn[f"heatmap_{name.replace('/', '_')}"] = caption, heat_map(sweep, name)
    by_step = curves(sweep)
    caption = f"{sweep.metric} against images/s" + (", colours as below" if by_step else "")
    drawn["trade_off"] = caption, trade_off(sweep)
    drawn["curves"] = "val/bpd by step", by_step
    return {name: (caption, svg) for name, (caption, svg) in drawn.items() if svg}


def _markdown(sweep: Sweep, title: str, charts: dict[str, tuple[str, str]]) -> str:
    parts = [f"# {title}\n"]
    if sweep.settings:
        parts += [f"By {sweep.metric}, best first.\n", markdown_table(*setting_rows(sweep))]
    parts += [f"![{caption}]({name}.svg)\n" for name, (caption, _) in charts.items()]
    parts += ["## All runs\n", markdown_table(*run_rows(sweep))]
    return "\n".join(parts)
