"""What each level of a flow holds of an image: latents drawn anew, and those that stay."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attnflow.errors import check_choice
from attnflow.explore.opened import Opened
from attnflow.metrics.images import cut_padding
from attnflow.models.image_model import Batch
from attnflow.pictures.levels import resampled_levels
from attnflow.utils.arguments import check_seed

__all__ = ["level_names", "resampled"]


def level_names(opened: Opened) -> list[str]:
    """The levels, each with its share of the latent values."""
    sizes = [math.prod(shape) for shape in opened.model.flow.latent_shapes]
    return [f"{number}: {size} of {sum(sizes)} values" for number, size in enumerate(sizes)]


def resampled(opened: Opened, batch: Batch, level: int, seed: int) -> tuple[Tensor, Tensor]:
    """An image, then variants of it: of which the level is drawn anew, and of which all others are.

    Args:
        batch: of one image, where the model is.
        level: from 0, the finest.
        seed: of what is drawn.

    Returns:
        Two rows of integer images, (1 + DRAWS, C, H, W), without padding.
    """
    check_choice("level", level, range(len(opened.model.flow.latent_shapes)))
    check_seed(seed)
    rows = []
    for others in (False, True):
        variants = resampled_levels(opened.model, batch, level, others, seed)
        images = torch.cat([batch["image"].long(), variants.long()]).cpu()
        rows.append(cut_padding(images, opened.shape))
    return rows[0], rows[1]
