"""The panel that draws levels of an image anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from attnflow.explore.opened import Opened
from attnflow.explore.page.frame import Frame, columns, grid, picture, words
from attnflow.explore.page.picker import Picker
from attnflow.explore.picked import picked
from attnflow.explore.resampling import level_names, resampled

__all__ = ["levels_panel"]

ABOUT = "What each level of the flow holds: the first image is yours, the others vary it."


def levels_panel(frame: Frame) -> None:
    """Variants of an image of which a level is drawn anew, or of which all others are."""
    with gr.Row():
        asked, answered = columns()
        with asked:
            gr.Markdown(ABOUT)
            picker = Picker(frame, "Image", 0, "levels")
            level = gr.Dropdown([], label="level", interactive=True)
            seed = gr.Number(0, precision=0, minimum=0, label="seed")
            button = gr.Button("Draw the level anew", variant="primary")
            said = words()
        with answered:
            alone = picture("This level drawn anew")
            others = picture("All other levels drawn anew")
    frame.follow([level], updates)
    frame.act(button.click, variants, [level, seed, *picker.inputs], [alone, others, said])


def updates(opened: Opened) -> Sequence[Any]:
    """Offer the levels of the model."""
    names = [(name, number) for number, name in enumerate(level_names(opened))]
    return [gr.update(choices=names, value=0)]


def variants(opened: Opened, level: int, seed: int, *pick: Any) -> Sequence[Any]:
    """Two rows of variants."""
    rows = resampled(opened, picked(opened, Picker.pick(*pick)), level, seed)
    return [grid(row, opened.spec.num_bins) for row in rows]
