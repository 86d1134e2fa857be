"""The image that a user has picked: an upload of theirs, or a test image by its number."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from attnflow.errors import ArgumentError, AttnFlowError
from attnflow.explore.opened import Opened
from attnflow.explore.uploads import uploaded_image
from attnflow.metrics.images import fetch
from attnflow.models.image_model import Batch

__all__ = ["Pick", "condition_image", "picked"]


@dataclass(frozen=True)
class Pick:
    """What a user says of an image.

    Attributes:
        upload: the file; None for a test image.
        number: of the test image.
        label: its class, under a model of classes; None for a test image's own.
        condition: the file of its condition, under an image-to-image model.
    """

    upload: Path | None = None
    number: int = 0
    label: int | None = None
    condition: Path | None = None


def picked(opened: Opened, pick: Pick) -> Batch:
    """The image as a batch of one, where the model is; an upload has the number 0.

    Raises:
        AttnFlowError: an upload that is refused, or that lacks the class or the condition that the
            model needs; no such test image.
    """
    if pick.upload is None:
        batch = test_image(opened, pick.number)
    else:
        padded = opened.model.image_shape
        image = uploaded_image(pick.upload, opened.shape, opened.spec.num_bins, padded)
        batch = {"image": image[None], "index": torch.tensor([0])}
    if opened.num_classes and (pick.label is not None or pick.upload is not None):
        label = "none chosen" if pick.label is None else pick.label
        batch["label"] = torch.tensor([checked_label(opened, label)])
    if opened.condition is not None and pick.condition is not None:
        batch["condition"] = condition_image(opened, pick.condition)[None]
    elif opened.condition is not None and pick.upload is not None:
        raise AttnFlowError(
            "condition: expected an image beside the uploaded one, as this model's images go with "
            "a condition, got none."
        )
    return opened.here(batch)


def test_image(opened: Opened, number: int) -> dict[str, Tensor]:
    """The test image of a number, as a batch of one."""
    count = len(opened.tests)
    if not isinstance(number, int) or not 0 <= number < count:
        raise ArgumentError("test image", f"a whole number from 0 to {count - 1}", number)
    return fetch(opened.tests, [number]) | {"index": torch.tensor([number])}


def checked_label(opened: Opened, label: object) -> int:
    """The class; raises :class:`ArgumentError` where the model has no such one."""
    if type(label) is not int or not 0 <= label < opened.num_classes:
        raise ArgumentError("class", f"one from 0 to {opened.num_classes - 1}", label)
    return label


def condition_image(opened: Opened, file: Path) -> Tensor:
    """An upload as a condition of the model: (C', H', W').

    Raises:
        AttnFlowError: an upload that is refused.
    """
    conditioning = opened.condition
    assert conditioning is not None
    channels, height, width = conditioning.shape
    return uploaded_image(file, (channels, height, width), conditioning.num_bins)
