"""The charts of a report, as SVG whose words take the colour of the page they stand in."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attnflow.report.sweep import Sweep, more_is_better
from attnflow.report.tables import NOTHING, cell, spoken
from attnflow.utils.decoration import decoration

__all__ = ["Charts", "curves", "draw_charts", "heat_map", "trade_off"]

Charts = dict[str, tuple[str, str]]  # caption and SVG by name
COSTS = ("images_per_second", "params")
MOST_LEVELS = 12  # of a heat map's axis
LONGEST_LABEL = 44  # letters beside the curves
# Stands for the text colour of the page, and is replaced by it.
INK = "#010203"
MUTED = "#808487"
FONTS = "Inter, system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text, not outlines: it can be read, searched and scaled
    "font.size": 10,
    "text.parse_math": False,  # a run may be called $x_1
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": INK,
    "ytick.color": INK,
}
CELL = (1.45, 0.72)  # inches
LETTER = 0.078  # inches
LINES = ("#3b78c4", "#d1721b", "#2f9a68", "#b9478f", "#7a63c7", "#a8892a", "#3aa0ad", "#c0504d")


def draw_charts(sweep: Sweep) -> Charts:
    """Heat maps of metric and cost, both against one another, and curves by step.

    What fails to be drawn is left out, with a warning.
    """
    charts = {}
    across = " and ".join(sweep.axes)
    rest = ", ".join(key for key in sweep.varying if key not in sweep.axes)
    over = f"; mean ± standard deviation over {rest}" if sweep.repeated else ""
    for name in dict.fromkeys((sweep.metric, *COSTS)):
        better = " (more is better)" if more_is_better(name) else " (less is better)"
        caption = f"{spoken(name)}{'' if name == 'params' else better} by {across}{over}"
        charts[f"heatmap_{name.replace('/', '_')}"] = caption, partial(heat_map, sweep, name)
    colours = ", colours as below" if any(run.curve[0] for run in sweep.runs) else ""
    charts["trade_off"] = f"{sweep.metric} against images/s{colours}", partial(trade_off, sweep)
    charts["curves"] = "val/bpd by step", partial(curves, sweep)
    drawn = {}
    for name, (caption, draw) in charts.items():
        with decoration(f"chart {name}"):
            if svg := draw():
                drawn[name] = caption, svg
    return drawn


@matplotlib.rc_context(STYLE)
def heat_map(sweep: Sweep, name: str) -> str | None:
    """A figure by the first two factors, with its spread over all else; None for no factor.

    Darker is better, or more where nothing is better. None, too, where cells would be means over
    different settings.
    """
    if not sweep.axes or not sweep.crossed:
        return None
    across = sweep.axes[-1]
    down = sweep.axes[0] if len(sweep.axes) == 2 else None
    columns, rows = sweep.levels(across), sweep.levels(down) if down else [""]
    if max(len(columns), len(rows)) > MOST_LEVELS:
        return None
    cells = {
        (i, j): sweep.cell((row, column) if down else (column,), name)
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
    }
    means = [figure.mean for figure, _ in cells.values() if figure]
    if not means:
        return None
    left = 0.15 + LETTER * max(len(row) for row in [*rows, down or ""])
    width, height = left + CELL[0] * len(columns) + 0.1, 0.6 + CELL[1] * len(rows)
    figure = Figure((width, height))
    box = (left / width, 0.02, 1 - (left + 0.1) / width, CELL[1] * len(rows) / height)
    axes = figure.add_axes(box)
    for (i, j), (found, runs) in cells.items():
        missing = runs[0].status if runs else NOTHING
        shade = _shade(name, found.mean, means) if found else None
        _draw_cell(axes, i, j, cell(name, found) if found else missing, shade)
    axes.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
    axes.set_xticks([j + 0.5 for j in range(len(columns))], [c or NOTHING for c in columns])
    axes.set_yticks([i + 0.5 for i in range(len(rows))], [r or NOTHING for r in rows])
    if not down:
        axes.set_yticks([])
    axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    return _svg(figure)


def _shade(name: str, value: float, values: Sequence[float]) -> float:
    """How dark a value is among all, from 0 to 1."""
    lowest, highest = min(values), max(values)
    share = (value - lowest) / (highest - lowest) if highest > lowest else 0.0
    return share if more_is_better(name) or name == "params" else 1 - share


def _draw_cell(axes: Axes, i: int, j: int, words: str, shade: float | None) -> None:
    """A rectangle, grey without a shade, and in it a figure over its spread."""
    middle: dict[str, Any] = {"ha": "center", "va": "center"}
    box = Rectangle((j + 0.015, i + 0.03), width=0.97, height=0.94, linewidth=0)
    axes.add_patch(box)
    if shade is None:
        box.set(facecolor=MUTED, alpha=0.15)
        axes.text(j + 0.5, i + 0.5, words, **middle, color=MUTED, fontsize=9)
        return
    box.set_facecolor(matplotlib.colormaps["GnBu"](0.15 + 0.8 * shade))
    middle["color"] = "#ffffff" if shade > 0.6 else "#12222e"
    mean, _, spread = words.partition(" ± ")
    axes.text(j + 0.5, i + (0.4 if spread else 0.5), mean, **middle, fontsize=11, weight="bold")
    if spread:
        axes.text(j + 0.5, i + 0.7, f"± {spread}", **middle, fontsize=8.5)


@matplotlib.rc_context(STYLE)
def trade_off(sweep: Sweep) -> str | None:
    """The metric against images/s, a point a setting, in the colours of :func:`curves`.

    Lines reach one standard deviation; None where fewer than two settings have both figures.
    """
    points = [
        (rank, x, y)
        for rank, setting in enumerate(sweep.settings)
        if (x := setting.figure("images_per_second")) and (y := setting.figure(sweep.metric))
    ]
    if len(points) < 2 or sweep.metric == "images_per_second":
        return None
    figure = Figure((6.0, 2.5))
    axes = figure.add_axes((0.12, 0.19, 0.86, 0.77))
    for rank, x, y in points:
        axes.errorbar(
            x.mean,
            y.mean,
            xerr=x.spread or 0.0,
            yerr=y.spread or 0.0,
            fmt="o",
            markersize=5,
            elinewidth=1,
            **_colour(rank),
        )
    _plain(axes, "images/s", sweep.metric)
    return _svg(figure)


@matplotlib.rc_context(STYLE)
def curves(sweep: Sweep) -> str | None:
    """val/bpd by step: the best settings in colour, the others grey; None where nobody logged it.

    Runs of a setting share its colour.
    """
    logged = [
        (rank, _short(setting.name), *run.curve)
        for rank, setting in enumerate(sweep.settings)
        for run in setting.runs
        if run.curve[0]
    ]
    # Runs without figures, which may be on their way, stay grey.
    unranked = [run for run in sweep.runs if run.curve[0] and not run.figures]
    logged += [(len(LINES), "", *run.curve) for run in unranked]
    if not logged:
        return None
    figure = Figure((11.4, 3.8))
    axes = figure.add_axes((0.06, 0.13, 0.68, 0.84))
    lines = {}
    for rank, label, steps, values in reversed(logged):  # the best on top
        marker = "o" if len(steps) == 1 else None
        (line,) = axes.plot(steps, values, marker=marker, linewidth=1.4, **_colour(rank))
        if rank < len(LINES):
            lines[label] = line
    axes.legend(
        list(lines.values())[::-1],
        list(lines)[::-1],
        loc="upper left",
        bbox_to_anchor=(1.02, 1.02),
        frameon=False,
        fontsize=9,
    )
    axes.set_ylim(*_limits([values for *_, values in logged]))
    _plain(axes, "step", "val/bpd")
    return _svg(figure)


def _colour(rank: int) -> dict[str, Any]:
    """Of the setting of this rank, from 0; grey after the first few."""
    if rank < len(LINES):
        return {"color": LINES[rank], "alpha": 0.95}
    return {"color": MUTED, "alpha": 0.4}


def _short(label: str) -> str:
    """A label that fits beside the curves."""
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"


def _limits(curves: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Of the vertical axis: first values far above all others may leave it."""
    best = min(min(values) for values in curves)
    worst_end = max(values[-1] for values in curves)
    room = 4 * max(worst_end - best, 0.05 * abs(best), 1e-3)
    highest = min(max(max(values) for values in curves), best + room)
    margin = max(0.05 * (highest - best), 1e-3)
    return best - margin, highest + margin


def _plain(axes: Axes, across: str, up: str) -> None:
    """A light grid, no frame, and what the axes are of."""
    axes.set(xlabel=across, ylabel=up)
    axes.grid(color=MUTED, alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _svg(figure: Figure) -> str:
    """The figure as an ``<svg>`` element without a background."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    return re.sub(r"'DejaVu Sans'[^;\"]*", FONTS.replace('"', "'"), text)
