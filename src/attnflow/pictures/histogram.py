"""How values are spread, of one kind of images or of several."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from attnflow.pictures.sheet import DPI, FONT_SIZE, INK

__all__ = ["histogram"]

COLOURS = ("#1f4e8c", "#b3541e", "#3d7d4b", "#7a4a94")
BINS = 40


def histogram(values: Mapping[str, Tensor], label: str, title: str) -> Figure:
    """The share of each kind of images by value.

    The few that lie far outside are counted in the bars at the ends, which the label then says.

    Args:
        values: (N,) of each kind, by its name.
        label: of the values.
        title: above the picture.
    """
    kinds = {name: each.double().cpu().numpy() for name, each in values.items()}
    joined = np.concatenate(list(kinds.values()))
    low, high = limits(joined)
    edges = np.histogram_bin_edges(joined, BINS, (low, high))
    beyond = int(((joined < low) | (joined > high)).sum())
    note = f" ({beyond} beyond the ends stand in the end bars)" if beyond else ""
    figure = Figure((5.6, 3.2), DPI)
    axes = figure.add_axes((0.1, 0.15, 0.87, 0.75))
    axes.set_title(title, fontsize=FONT_SIZE, color=INK, loc="left")
    for (name, each), colour in zip(kinds.items(), COLOURS, strict=False):
        weights = np.full(len(each), 1 / len(each))
        text = f"{name}: {len(each)} images, mean {each.mean():.3f}"
        options = {"bins": edges, "weights": weights, "color": colour}
        inside = each.clip(low, high)
        axes.hist(inside, alpha=0.35, label=text, **options)
        axes.hist(inside, histtype="step", linewidth=1.2, **options)
    axes.set_xlabel(label + note, fontsize=FONT_SIZE, color=INK)
    axes.set_ylabel("share of images", fontsize=FONT_SIZE, color=INK)
    axes.tick_params(labelsize=FONT_SIZE, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=FONT_SIZE, frameon=False, labelcolor=INK)
    return figure


def limits(values: np.ndarray) -> tuple[float, float]:
    """The ends of the axis: of all values, or no further from 90 % of them than these spread."""
    low, high = np.quantile(values, (0.05, 0.95))
    spread = high - low
    return max(values.min(), low - spread), min(values.max(), high + spread)
