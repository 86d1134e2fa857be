"""Scales that have reached their bound: a flow that cannot widen its data as it should."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from attnflow.context import Context
from attnflow.flows.watching import watched
from attnflow.models.image_model import Batch, ImageModel

__all__ = ["share_at_bound"]


@runtime_checkable
class BoundsScales(Protocol):
    """A transform whose scale has a bound, as :class:`attnflow.transforms.Coupling`."""

    def at_bound(self, x: Tensor, context: Context | None = None) -> Tensor | None:
        """Where the scale of a value is at its bound; None where scales have none."""
        ...


@torch.no_grad()
def share_at_bound(model: ImageModel, batch: Batch, noise: Tensor) -> Tensor | None:
    """The share of values whose scale is at its bound, in the transform where most are.

    Args:
        model: whose flow is looked at.
        batch: real images.
        noise: their dequantization noise, uniform in [0, 1).

    Returns:
        A scalar from 0 to 1; None for a flow without bounded scales.
    """
    shares: list[Tensor] = []

    def record(name: str, module: nn.Module, inputs: tuple, outputs: object) -> None:
        x, *rest = inputs
        found = module.at_bound(x, *rest[:1]) if isinstance(module, BoundsScales) else None
        if found is not None:
            shares.append(found.float().mean())

    y, _ = model.dequantizer(batch["image"], noise)
    with watched(model.flow, lambda module: isinstance(module, BoundsScales), record):
        model.flow.encode(y, model.context(batch))
    return torch.stack(shares).max() if shares else None
