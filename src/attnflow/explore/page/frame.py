"""The frame of the page: which model is chosen, what follows it, and how an action is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image
from torchvision.utils import make_grid

from attnflow.explore.charts import sentence
from attnflow.explore.opened import Opened, Shelf
from attnflow.pictures.sheet import enlarged
from attnflow.utils.sentences import expected_error

__all__ = ["Frame", "as_image", "columns", "grid", "picture", "words"]

log = logging.getLogger(__name__)

# Small images are enlarged, pixel by pixel, until a side has this many pixels.
READABLE_SIDE = 48
# Whatever runs a model waits for the others that do.
ONE_AT_A_TIME: dict[str, Any] = {
    "concurrency_limit": 1,
    "concurrency_id": "model",
    "api_visibility": "private",
    "show_progress": "minimal",
}
BUG = "this page failed at it, which is a bug: {}. The terminal tells more."


class Frame:
    """Components that all panels share.

    Args:
        shelf: the models.
        model: the dropdown that one is chosen with.
    """

    def __init__(self, shelf: Shelf, model: gr.Dropdown) -> None:
        self.shelf, self.model = shelf, model
        self.followers: list[tuple[Sequence[Any], Callable[[Opened], Sequence[Any]]]] = []
        self.answers: list[Any] = []

    def follow(self, components: Sequence[Any], updates: Callable[[Opened], Sequence[Any]]) -> None:
        """Have components updated for each model that is chosen.

        Args:
            components: of a panel.
            updates: gives an update for each, of the model.
        """
        self.followers.append((components, updates))

    def followed(self) -> list[Any]:
        """All components that follow the model, and those that show what it answered."""
        return [each for components, _ in self.followers for each in components] + self.answers

    def updates(self, opened: Opened) -> list[Any]:
        """Their updates; what another model has answered is taken away."""
        updates = [each for _, updates in self.followers for each in updates(opened)]
        return [*updates, *(empty(each) for each in self.answers)]

    def act(
        self,
        event: Callable[..., Any],
        function: Callable[..., Sequence[Any]],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
    ) -> None:
        """Have an event run a function; an error is told in one sentence, below the inputs.

        Args:
            event: of a component, ``button.click``, say.
            function: of the open model and the inputs' values; gives a value for each output but
                the last.
            inputs: beside the model.
            outputs: the last one is the panel's place for sentences.
        """

        shown = [each for each in outputs if isinstance(each, gr.Image | gr.HTML)]
        known = self.followed()
        self.answers += [each for each in shown if each not in known]

        def call(name: str, *values: Any) -> Sequence[Any]:
            return self.told(lambda: function(self.shelf.open(name), *values), len(outputs) - 1)

        event(call, [self.model, *inputs], list(outputs), **ONE_AT_A_TIME)

    def told(self, action: Callable[[], Sequence[Any]], count: int) -> Sequence[Any]:
        """The values of an action and no sentence, or no values and the sentence of its error.

        Args:
            action: gives ``count`` values.
        """
        try:
            return [*action(), ""]
        except Exception as error:
            told = expected_error(error)
            if told is None:
                log.exception("an action of the page failed")
                told = BUG.format(type(error).__name__)
            return [*[None] * count, sentence(told, "error")]


def empty(component: Any) -> str | None:
    """The value of a component that shows nothing."""
    return "" if isinstance(component, gr.HTML) else None


def columns() -> tuple[gr.Column, gr.Column]:
    """Two columns, of what is asked and of what is answered; below each other on a phone."""
    return gr.Column(scale=1, min_width=280), gr.Column(scale=2, min_width=320)


def words(text: str = "", **options: Any) -> gr.HTML:
    """A place for sentences, tables and charts."""
    return gr.HTML(text, padding=False, **options)


def picture(label: str, **options: Any) -> gr.Image:
    """A place for a picture, whose pixels stay sharp."""
    return gr.Image(
        label=label,
        alt_text=label,
        format="png",
        type="pil",
        interactive=False,
        buttons=["download", "fullscreen"],
        elem_classes="af-picture",
        **options,
    )


def as_image(picture: Tensor) -> Image.Image:
    """A picture (3, H, W) in [0, 1] as a :class:`gradio.Image` takes it."""
    return to_pil_image((picture.clamp(0, 1) * 255).round().byte())


def grid(images: Tensor, num_bins: int, columns: int = 8) -> Image.Image:
    """Integer images (N, C, H, W) side by side, small ones enlarged pixel by pixel."""
    pixels = enlarged(images.float().cpu() / (num_bins - 1), READABLE_SIDE)
    return as_image(make_grid(pixels, nrow=columns, padding=2, pad_value=0.5))
