"""Samples of a model, as a user asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from attnflow.errors import ArgumentError
from attnflow.explore.opened import Opened
from attnflow.explore.picked import checked_label, condition_image
from attnflow.metrics.images import cut_padding, fetch

__all__ = ["HOTTEST", "MOST_DRAWN", "STRONGEST", "Draw", "check_within", "conditions_of", "draw"]

MOST_DRAWN = 64  # images at a time
HOTTEST = 2.0  # temperature
STRONGEST = 10.0  # guidance


@dataclass(frozen=True)
class Draw:
    """What is drawn.

    Attributes:
        n: how many images.
        temperature: standard deviation of the latents.
        seed: the i-th image is a function of it and of i.
        label: of a model of classes; None for all classes in turn.
        guidance: weight of classifier-free guidance; None for that of the training.
        condition: the file that an image-to-image model draws for; None for test images in turn.
    """

    n: int = 16
    temperature: float = 1.0
    seed: int = 0
    label: int | None = None
    guidance: float | None = None
    condition: Path | None = None


def draw(opened: Opened, wish: Draw) -> Tensor:
    """Draw images: uint8, (n, C, H, W), without padding.

    Raises:
        AttnFlowError: a value out of its range, or test images that are not here and that the
            model draws for.
    """
    check_within("number of images", wish.n, 1, MOST_DRAWN)
    check_within("temperature", wish.temperature, 0, HOTTEST)
    if wish.guidance is not None:
        check_within("guidance", wish.guidance, 0, STRONGEST)
    images = opened.loaded.sample(
        wish.n,
        labels_of(opened, wish),
        conditions_of(opened, wish),
        wish.temperature,
        wish.seed,
        guidance=wish.guidance if opened.takes_guidance else None,
    )
    return cut_padding(images.cpu(), opened.shape)


def labels_of(opened: Opened, wish: Draw) -> list[int] | None:
    """The class of each image; None of a model without classes."""
    if not opened.num_classes:
        return None
    if wish.label is None:
        return [number % opened.num_classes for number in range(wish.n)]
    return [checked_label(opened, wish.label)] * wish.n


def conditions_of(opened: Opened, wish: Draw) -> Tensor | None:
    """The condition of each image, (n, C', H', W'); None of a model without condition images."""
    if opened.condition is None:
        return None
    if wish.condition is not None:
        return condition_image(opened, wish.condition).expand(wish.n, -1, -1, -1)
    numbers = [number % len(opened.tests) for number in range(wish.n)]
    return fetch(opened.tests, numbers)["condition"]


def check_within(name: str, value: float, least: float, most: float) -> None:
    """Raise :class:`ArgumentError` for a number beyond its bounds, or for none."""
    if not isinstance(value, int | float) or not least <= value <= most:
        raise ArgumentError(name, f"a number from {least:g} to {most:g}", value)
