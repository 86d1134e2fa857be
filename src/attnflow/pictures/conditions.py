"""The conditions that a picture of a conditional model shows."""

from __future__ import annotations

import torch

from attnflow.data.samples import Samples
from attnflow.models.conditioning import ClassConditioning
from attnflow.models.image_model import Batch, ImageModel
from attnflow.pictures.samples import spread_batch

__all__ = ["chosen_conditions"]


COLUMNS = 8
MOST_CLASSES = 10  # in a picture


def chosen_conditions(model: ImageModel, dataset: Samples, n: int) -> tuple[int, Batch | None]:
    """How many samples a picture holds, and their conditions.

    A class model has one row of eight for each of the first ten classes, an image model the
    conditions of ``n`` images spread over ``dataset``, an unconditional one ``n`` samples of none.
    """
    conditioning = model.conditioning
    if conditioning is None:
        return n, None
    device = next(model.parameters()).device
    if isinstance(conditioning, ClassConditioning):
        classes = torch.arange(min(conditioning.num_classes, MOST_CLASSES), device=device)
        return COLUMNS * len(classes), {"label": classes.repeat_interleave(COLUMNS)}
    batch = spread_batch(dataset, n, device)
    return len(batch["image"]), {conditioning.field: batch[conditioning.field]}
