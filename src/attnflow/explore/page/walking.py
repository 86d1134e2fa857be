"""The panel that walks from one image to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from attnflow.explore.opened import Opened
from attnflow.explore.page.frame import Frame, columns, grid, picture, words
from attnflow.explore.page.picker import Picker
from attnflow.explore.picked import picked
from attnflow.explore.walk import MOST_STEPS, walk

__all__ = ["walk_panel"]

ABOUT = "The flow takes both images to latents; what lies between them is taken back to images."


def walk_panel(frame: Frame) -> None:
    """A walk between two images, through the latents."""
    with gr.Row():
        asked, answered = columns()
        with asked:
            gr.Markdown(ABOUT)
            first = Picker(frame, "From", 0, "walk-from")
            second = Picker(frame, "To", 1, "walk-to")
            steps = gr.Slider(2, MOST_STEPS, 8, step=1, label="steps")
            button = gr.Button("Walk", variant="primary")
            said = words()
        with answered:
            row = picture("From the first image to the second")
    inputs = [steps, *first.inputs, *second.inputs]
    frame.act(button.click, walked, inputs, [row, said])


def walked(opened: Opened, steps: int, *picks: Any) -> Sequence[Any]:
    """The images of the walk."""
    half = len(picks) // 2
    first, second = (picked(opened, Picker.pick(*each)) for each in (picks[:half], picks[half:]))
    return [grid(walk(opened, first, second, steps), opened.spec.num_bins)]
