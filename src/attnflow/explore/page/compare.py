"""The panel that puts two models beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from attnflow.explore.charts import compare_table, histogram_chart, sentence
from attnflow.explore.comparing import compared
from attnflow.explore.drawing import HOTTEST, MOST_DRAWN, Draw, draw
from attnflow.explore.opened import Opened
from attnflow.explore.page.frame import Frame, columns, grid, picture, words

__all__ = ["compare_panel"]

ABOUT = "The chosen model and another beside it: samples of a seed, and bits/dim of test images."
GRID = 4  # images of a row


def compare_panel(frame: Frame, second: str) -> None:
    """Two models side by side.

    Args:
        second: the name of the other one that is chosen at first.
    """
    with gr.Row():
        asked, answered = columns()
        with asked:
            gr.Markdown(ABOUT)
            other = gr.Dropdown(
                frame.shelf.names, value=second, label="beside", elem_id="compare-other"
            )
            n = gr.Slider(1, MOST_DRAWN, 16, step=1, label="images of each")
            temperature = gr.Slider(0, HOTTEST, 1, step=0.05, label="temperature")
            seed = gr.Number(0, precision=0, minimum=0, label="seed")
            button = gr.Button("Compare", variant="primary", elem_id="compare-button")
            said = words()
        with answered:
            with gr.Row():
                ours = picture("1: the chosen model", min_width=240, elem_id="compare-first")
                theirs = picture("2: beside it", min_width=240)
            told = words()
            chart = words()
            facts = words()

    def both(opened: Opened, name: str, *wish: Any) -> Sequence[Any]:
        return beside(opened, frame.shelf.open(name), Draw(*wish))

    outputs = [ours, theirs, told, chart, facts, said]
    frame.act(button.click, both, [other, n, temperature, seed], outputs)


def beside(first: Opened, second: Opened, wish: Draw) -> Sequence[Any]:
    """Samples of both, words on the difference, histograms and a table."""
    grids = [grid(draw(each, wish), each.spec.num_bins, GRID) for each in (first, second)]
    found = compared(first, second)
    chart = histogram_chart(found.bits, "bits/dim of test images") if found.bits else ""
    names = (f"1: {first.name}", f"2: {second.name}")
    return [*grids, sentence(found.words), chart, compare_table(found.facts, names)]
