"""The panel that draws samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from attnflow.explore.drawing import HOTTEST, MOST_DRAWN, STRONGEST, Draw, conditions_of, draw
from attnflow.explore.opened import Opened
from attnflow.explore.page.frame import Frame, columns, grid, picture, words
from attnflow.explore.page.picker import NONE, class_choices, file, number_or_none
from attnflow.pictures.sheet import as_colours

__all__ = ["sample_panel"]

ABOUT = (
    "Each image is a function of the seed and its number; a low temperature draws likelier ones."
)
BLACK_AND_WHITE = 2  # grey values of which colours in [0, 1] are between


def sample_panel(frame: Frame) -> None:
    """Samples with temperature, seed, class and guidance."""
    with gr.Row():
        asked, answered = columns()
        with asked:
            gr.Markdown(ABOUT)
            n = gr.Slider(1, MOST_DRAWN, 16, step=1, label="images")
            temperature = gr.Slider(0, HOTTEST, 1, step=0.05, label="temperature")
            seed = gr.Number(0, precision=0, minimum=0, label="seed")
            label = gr.Dropdown([], label="class", visible=False, interactive=True)
            guidance = gr.Slider(0, STRONGEST, 0, step=0.1, label="guidance", visible=False)
            condition = file("condition; none for test images'", visible=False)
            button = gr.Button("Draw samples", variant="primary", elem_id="sample-button")
            said = words()
        with answered:
            grid = picture("Samples", elem_id="sample-picture")
            conditions = picture("Their conditions", visible=False)
    inputs = [n, temperature, seed, label, guidance, condition]
    frame.follow([label, guidance, condition, conditions], updates)
    frame.act(button.click, samples, inputs, [grid, conditions, said])


def updates(opened: Opened) -> Sequence[Any]:
    """Show what the model's samples depend on."""
    conditioning = opened.model.conditioning
    return [
        gr.update(
            choices=class_choices(opened, "all in turn"),
            value=NONE,
            visible=bool(opened.num_classes),
        ),
        gr.update(
            value=0 if conditioning is None else conditioning.guidance,
            visible=opened.takes_guidance,
        ),
        *[gr.update(value=None, visible=opened.condition is not None)] * 2,
    ]


def samples(
    opened: Opened,
    n: int,
    temperature: float,
    seed: int,
    label: int | None,
    guidance: float,
    condition: str | None,
) -> Sequence[Any]:
    """A grid of samples, and one of what an image-to-image model drew them for."""
    wish = Draw(
        n,
        temperature,
        seed,
        number_or_none(label),
        guidance,
        None if condition is None else Path(condition),
    )
    samples = grid(draw(opened, wish), opened.spec.num_bins)
    conditions = conditions_of(opened, wish)
    if opened.condition is None or conditions is None:
        return [samples, None]
    colours = as_colours(conditions, opened.condition.num_bins)
    return [samples, grid(colours, BLACK_AND_WHITE)]
