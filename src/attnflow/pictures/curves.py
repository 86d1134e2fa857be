"""Bits/dim by optimisation step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from attnflow.pictures.sheet import DPI, FONT_SIZE, INK
from attnflow.runs.results import read_curve

__all__ = ["curves_picture"]


def curves_picture(
    run_dir: Path, entropy: float | None = None, metric: str = "bpd"
) -> Figure | None:
    """Bits/dim of training and validation by step; None where the run logged none.

    Args:
        run_dir: of the training.
        entropy: of the data in bits/dim, a line that no model can cross on average.
        metric: that is drawn, in bits/dim.
    """
    train, val = (read_curve(run_dir, f"{split}/{metric}") for split in ("train", "val"))
    if not train[0] and not val[0]:
        return None
    figure = Figure((5.6, 3.4), DPI)
    axes = figure.add_axes((0.1, 0.13, 0.87, 0.78))
    title = "Bits/dim by optimisation step, of training and of validation with averaged weights"
    axes.set_title(title, fontsize=FONT_SIZE, color=INK, loc="left")
    axes.plot(*train, color="#9db7d5", linewidth=0.9, label=f"train/{metric}, a batch")
    axes.plot(*val, color="#1f4e8c", linewidth=1.6, marker="o", markersize=3, label=f"val/{metric}")
    if entropy is not None:
        axes.axhline(entropy, color="#b3541e", linewidth=1, linestyle="--", label="entropy")
    axes.set_ylim(*_limits(train[1], val[1], entropy))
    axes.set_xlabel("step", fontsize=FONT_SIZE, color=INK)
    axes.set_ylabel("bits/dim", fontsize=FONT_SIZE, color=INK)
    axes.tick_params(labelsize=FONT_SIZE, colors=INK)
    axes.grid(color="#e6e6e6", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=FONT_SIZE, frameon=False, labelcolor=INK)
    return figure


def _limits(
    train: Sequence[float], val: Sequence[float], entropy: float | None
) -> tuple[float, float]:
    """Limits of the vertical axis, which may cut off the first steps, far above all others."""
    values = sorted([*train, *val])
    highest = max(values[int(0.97 * (len(values) - 1))], *val, values[0] + 0.01)
    lowest = values[0] if entropy is None else min(values[0], entropy)
    margin = 0.05 * (highest - lowest)
    return lowest - margin, highest + margin
