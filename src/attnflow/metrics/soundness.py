"""Measure whether a flow inverts, and whether its samples stay among the pixels' values."""

from __future__ import annotations

import torch
from torch import Tensor

from attnflow.models.image_model import Batch, ImageModel

__all__ = ["out_of_range", "round_trip_errors"]


@torch.no_grad()
def round_trip_errors(model: ImageModel, batch: Batch, noise: Tensor) -> Tensor:
    """``|decode(encode(y)) - y|`` of dequantized images y in [0, 1): (B, C, H, W).

    A grey level is ``1 / num_bins`` wide. What is not finite counts as infinite.

    Args:
        batch: with images and what the model is conditioned on.
        noise: the shape of the images, uniform in [0, 1).
    """
    y, _ = model.dequantizer(batch["image"], noise)
    context = model.context(batch)
    back = model.flow.decode(model.flow.encode(y, context), context)
    return (back - y).abs().nan_to_num(torch.inf, torch.inf)


def out_of_range(values: Tensor) -> Tensor:
    """How many continuous values lie outside [0, 1), NaN among them: a count."""
    return (~((values >= 0) & (values < 1))).sum()
