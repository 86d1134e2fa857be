"""The charts of a report, as SVG whose words take the colour of the page they stand in."""

from __future__ import annotations

import io
import re

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnflow.evaluation.results import read_curve
from attnflow.report.runs import FAILED, Run
from attnflow.report.sweep import Sweep, more_is_better
from attnflow.report.tables import NOTHING, cell

__all__ = ["curves", "heat_map"]

# Stands for the text colour of the page, and is replaced by it.
INK = "#010203"
MUTED = "#808487"
FONTS = "Inter, system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
STYLE = {
    "svg.fonttype": "none",  # text, not outlines: it can be read, searched and scaled
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": INK,
    "ytick.color": INK,
}
CELL = (1.45, 0.72)  # inches
LETTER = 0.078  # inches
LINES = ("#3b78c4", "#d1721b", "#2f9a68", "#b9478f", "#7a63c7", "#a8892a", "#3aa0ad", "#c0504d")


def heat_map(sweep: Sweep, name: str) -> str | None:
    """A figure by the first two factors, with its spread over all else; None for no factor.

    Darker is better, or more where nothing is better.
    """
    if not sweep.axes:
        return None
    across = sweep.axes[-1]
    down = sweep.axes[0] if len(sweep.axes) == 2 else None
    columns, rows = sweep.levels(across), sweep.levels(down) if down else [""]
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
    with matplotlib.rc_context(STYLE):
        figure = Figure((width, height))
        box = (left / width, 0.02, 1 - (left + 0.1) / width, CELL[1] * len(rows) / height)
        axes = figure.add_axes(box)
        for (i, j), (found, runs) in cells.items():
            _draw_cell(axes, i, j, name, found, runs, min(means), max(means))
        axes.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
        axes.set_xticks([j + 0.5 for j in range(len(columns))], [c or "default" for c in columns])
        axes.set_yticks([i + 0.5 for i in range(len(rows))], [r or "default" for r in rows])
        if not down:
            axes.set_yticks([])
        axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
        axes.spines[:].set_visible(False)
        return _svg(figure)


def _draw_cell(
    axes: Axes,
    i: int,
    j: int,
    name: str,
    found: object,
    runs: list[Run],
    lowest: float,
    highest: float,
) -> None:
    """A rectangle in the figure's colour, with the figure and its spread in words."""
    middle = {"ha": "center", "va": "center"}
    box = {"width": 0.97, "height": 0.94, "linewidth": 0}
    at = (j + 0.015, i + 0.03)
    if found is None:
        axes.add_patch(matplotlib.patches.Rectangle(at, **box, facecolor=MUTED, alpha=0.15))
        word = NOTHING if not runs else FAILED if runs[0].status == FAILED else "unfinished"
        axes.text(j + 0.5, i + 0.5, word, **middle, color=MUTED, fontsize=9)
        return
    share = (found.mean - lowest) / (highest - lowest) if highest > lowest else 0.0
    shade = share if more_is_better(name) or name == "params" else 1 - share
    colour = matplotlib.colormaps["GnBu"](0.15 + 0.8 * shade)
    axes.add_patch(matplotlib.patches.Rectangle(at, **box, facecolor=colour))
    ink = "#ffffff" if shade > 0.6 else "#12222e"
    mean, _, spread = cell(name, found).partition(" ± ")
    axes.text(
        j + 0.5, i + (0.4 if spread else 0.5), mean, **middle, color=ink, fontsize=11, weight="bold"
    )
    if spread:
        axes.text(j + 0.5, i + 0.7, f"± {spread}", **middle, color=ink, fontsize=8.5)


def curves(sweep: Sweep, name: str = "val/bpd") -> str | None:
    """A figure by step: the best settings in colour, the others grey; None where nobody logged it.

    Runs of a setting share its colour.
    """
    logged = [
        (setting, [curve for run in setting.runs if (curve := read_curve(run.folder, name))[0]])
        for setting in sweep.settings
    ]
    logged = [(setting, found) for setting, found in logged if found]
    if not logged:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure((11.4, 3.8))
        axes = figure.add_axes((0.05, 0.13, 0.69, 0.84))
        for rank, (setting, found) in reversed(list(enumerate(logged))):
            shown = rank < len(LINES)
            colour = LINES[rank] if shown else MUTED
            for number, (steps, values) in enumerate(found):
                axes.plot(
                    steps,
                    values,
                    color=colour,
                    linewidth=1.4 if shown else 0.7,
                    alpha=0.95 if shown else 0.4,
                    marker="o" if len(steps) == 1 else None,
                    markersize=3,
                    label=setting.name if shown and not number else None,
                )
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(
            handles[::-1],
            labels[::-1],
            loc="upper left",
            bbox_to_anchor=(1.02, 1.02),
            frameon=False,
            fontsize=9,
        )
        ends = [value for _, found in logged for _, values in found for value in values[-1:]]
        best = min(min(values) for _, found in logged for _, values in found)
        starts = max(values[0] for _, found in logged for _, values in found)
        # A first validation far above all others must not flatten what follows.
        highest = min(starts, best + 4 * max(max(ends) - best, 0.05 * abs(best), 1e-3))
        axes.set_ylim(best - 0.05 * (highest - best), highest + 0.03 * (highest - best))
        axes.set_xlabel("step")
        axes.set_ylabel(name)
        axes.grid(color=MUTED, alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        return _svg(figure)


def _svg(figure: Figure) -> str:
    """The figure as an ``<svg>`` element without a background."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    return re.sub(r"'DejaVu Sans'[^;\"]*", FONTS.replace('"', "'"), text)
