"""The panel that shows where attention looks, asked by a click on the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from attnflow.explore.charts import sentence
from attnflow.explore.looking import MIDDLE, Place, layers, look, place_of, shown_image
from attnflow.explore.opened import Opened
from attnflow.explore.page.frame import ONE_AT_A_TIME, Frame, as_image, columns, picture, words
from attnflow.explore.page.picker import Picker
from attnflow.explore.picked import picked

__all__ = ["attention_panel"]

ABOUT = "Show an image, then click on it: where does this place look, in an attention of the flow?"


def attention_panel(frame: Frame) -> None:
    """Attention maps over an image."""
    with gr.Row():
        asked, answered = columns()
        with asked:
            gr.Markdown(ABOUT)
            picker = Picker(frame, "Image", 0, "attention")
            button = gr.Button("Show", variant="primary", elem_id="attention-button")
            layer = gr.Dropdown([], label="attention", interactive=True, visible=False)
            said = words()
        with answered:
            with gr.Row():
                image = picture("Click on the image", min_width=240, elem_id="attention-image")
                heat = picture("Where it looks", min_width=240, elem_id="attention-heat")
            told = words(elem_id="attention-words")
    place = gr.State(MIDDLE)
    frame.follow([layer], forgotten)
    frame.act(button.click, shown, [place, *picker.inputs], [layer, image, heat, told, said])
    asking = [layer, place, *picker.inputs]
    frame.act(layer.input, looked, asking, [image, heat, told, said])

    def clicked(
        name: str,
        layer: str | None,
        upload: str | None,
        number: float | None,
        label: int | None,
        condition: str | None,
        event: gr.SelectData,
    ) -> Sequence[Any]:
        def action() -> Sequence[Any]:
            opened = frame.shelf.open(name)
            column, row = event.index
            at = place_of(opened, row, column)
            return [at, *looked(opened, layer, at, upload, number, label, condition)]

        return frame.told(action, 4)

    outputs = [place, image, heat, told, said]
    image.select(clicked, [frame.model, layer, *picker.inputs], outputs, **ONE_AT_A_TIME)


def forgotten(opened: Opened) -> Sequence[Any]:
    """Take away the attentions of another model."""
    return [gr.update(choices=[], value=None, visible=False)]


def shown(opened: Opened, place: Place | None, *pick: Any) -> Sequence[Any]:
    """The image to click on, and what the first attention looks at from the place."""
    names = layers(opened, picked(opened, Picker.pick(*pick)))
    update = gr.update(choices=names, value=names[0], visible=True)
    return [update, *looked(opened, names[0], place, *pick)]


def looked(opened: Opened, layer: str | None, place: Place | None, *pick: Any) -> Sequence[Any]:
    """The image, what the attention looks at, and words on it."""
    batch = picked(opened, Picker.pick(*pick))
    found = look(opened, batch, layer or layers(opened, batch)[0], place or MIDDLE)
    shown = as_image(shown_image(opened, batch))
    return [shown, as_image(found.picture), sentence(found.words)]
