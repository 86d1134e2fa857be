"""The panel that tells an image's bits/dim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from attnflow.explore.charts import histogram_chart, sentence, table
from attnflow.explore.looking import shown_image
from attnflow.explore.opened import Opened
from attnflow.explore.page.frame import Frame, as_image, columns, picture, words
from attnflow.explore.page.picker import Picker
from attnflow.explore.picked import picked
from attnflow.explore.scoring import verdict_on

__all__ = ["score_panel"]

ABOUT = "How many bits the model takes for each value of an image, beside its test images."


def score_panel(frame: Frame) -> None:
    """Bits/dim of an image, beside the histogram of the test images."""
    with gr.Row():
        asked, answered = columns()
        with asked:
            gr.Markdown(ABOUT)
            picker = Picker(frame, "Image", 0, "score")
            button = gr.Button("Score it", variant="primary", elem_id="score-button")
            said = words(elem_id="score-said")
        with answered:
            chart = words()
            with gr.Row():
                with gr.Column(min_width=240):
                    seen = picture("The image as the model sees it")
                with gr.Column(min_width=280):
                    figures = words()
    frame.act(button.click, scored, picker.inputs, [chart, seen, figures, said])


def scored(opened: Opened, *pick: Any) -> Sequence[Any]:
    """The chart, the image and the figures."""
    batch = picked(opened, Picker.pick(*pick))
    verdict = verdict_on(opened, batch)
    chart = sentence(f"No histogram: {verdict.missing}") if verdict.missing else ""
    if verdict.tests is not None:
        marked = {"this image": verdict.bits}
        chart = histogram_chart({"test": verdict.tests}, "bits/dim", marked)
    return [chart, as_image(shown_image(opened, batch)), table(verdict.rows())]
