"""A walk from one image to another, through the latents."""

from __future__ import annotations

import torch
from torch import Tensor

from attnflow.context import Context
from attnflow.explore.drawing import check_within
from attnflow.explore.opened import Opened
from attnflow.metrics.images import cut_padding
from attnflow.models.image_model import Batch
from attnflow.pictures.samples import slerp

__all__ = ["MOST_STEPS", "walk"]

MOST_STEPS = 24


@torch.no_grad()
def walk(opened: Opened, first: Batch, second: Batch, steps: int) -> Tensor:
    """Walk from one image to another, ends included: integer images, (steps, C, H, W).

    Latents go along the great circle, so that every step has the length that latents of the base
    have; what the model is conditioned on goes along the straight line.

    Args:
        first, second: batches of one image, where the model is.
        steps: 2 or more.

    Raises:
        AttnFlowError: too few or too many steps.
    """
    check_within("number of steps", steps, 2, MOST_STEPS)
    model, ends, contexts = opened.model, [], []
    for batch in (first, second):
        half = torch.full(batch["image"].shape, 0.5, device=batch["image"].device)
        contexts.append(model.context(batch))
        ends.append(model.flow.encode(model.dequantizer(batch["image"], half)[0], contexts[-1]))
    shares = torch.linspace(0, 1, int(steps), device=opened.loaded.device)
    latents = [slerp(a, b, shares) for a, b in zip(*ends, strict=True)]
    images = model.flow.decode(latents, between(contexts[0], contexts[1], shares))
    return cut_padding(model.dequantizer.quantize(images).cpu(), opened.shape)


def between(first: Context | None, second: Context | None, shares: Tensor) -> Context | None:
    """The contexts on the line from one to another, a row for each share of the way."""
    if first is None or second is None:
        return None

    def line(a: Tensor, b: Tensor) -> Tensor:
        share = shares.view(-1, *[1] * (a.ndim - 1)).to(a)
        return (1 - share) * a + share * b

    vectors = None
    if first.vector is not None and second.vector is not None:
        vectors = line(first.vector, second.vector)
    pairs = zip(first.maps, second.maps, strict=True)
    return Context(vectors, tuple(line(a, b) for a, b in pairs))
