"""Components that pick an image: an upload, or a test image by its number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from attnflow.explore.opened import Opened
from attnflow.explore.page.frame import Frame
from attnflow.explore.picked import Pick
from attnflow.explore.uploads import LARGEST, LONGEST_SIDE

__all__ = ["NONE", "Picker", "class_choices", "file", "number_or_none"]

LIMITS = f"up to {LARGEST // 2**20} MB, {LONGEST_SIDE} pixels a side"
NONE = -1  # a dropdown's value for no class


class Picker:
    """Picks an image.

    Args:
        frame: of the page.
        title: what the image is for.
        number: of the test image that is picked at first.
        name: that tells it apart on the page.

    Attributes:
        inputs: its components, in the order that :meth:`pick` takes their values in.
    """

    def __init__(self, frame: Frame, title: str, number: int, name: str) -> None:
        with gr.Group():
            upload = file(f"{title}: {LIMITS}", elem_id=f"{name}-upload")
            test = gr.Number(
                value=number, precision=0, minimum=0, label="or test image number", min_width=120
            )
            label = gr.Dropdown([], label="class", visible=False, interactive=True, min_width=120)
            condition = file("condition of an upload", visible=False)
        self.inputs = [upload, test, label, condition]
        frame.follow([label, condition], self.updates)

    def updates(self, opened: Opened) -> Sequence[Any]:
        """Show what the model's images go with."""
        return [
            gr.update(
                choices=class_choices(opened, "a test image's own"),
                value=NONE,
                visible=bool(opened.num_classes),
            ),
            gr.update(visible=opened.condition is not None),
        ]

    @staticmethod
    def pick(upload: str | None, number: float | None, label: int | None, condition: str | None):
        """What the values of :attr:`inputs` say."""
        return Pick(
            None if upload is None else Path(upload),
            -1 if number is None else int(number),
            number_or_none(label),
            None if condition is None else Path(condition),
        )


def file(label: str, **options: Any) -> gr.File:
    """A place to drop a file."""
    return gr.File(label=label, height=150, elem_classes="af-upload", **options)


def class_choices(opened: Opened, none: str) -> list[tuple[str, int]]:
    """The classes of a model for a dropdown, with words for none of them."""
    return [(none, NONE), *((str(number), number) for number in range(opened.num_classes))]


def number_or_none(label: int | None) -> int | None:
    """The class that a dropdown's value says."""
    return None if label is None or label == NONE else int(label)
