"""Pictures of what each latent, of a multi-scale flow one a level, holds of an image."""

from __future__ import annotations

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor

from attnflow.models.image_model import Batch, ImageModel
from attnflow.pictures.sheet import as_colours, enlarged, sheet

__all__ = ["levels_picture", "resampled_levels"]

DRAWS = 4


@torch.no_grad()
def resampled_levels(
    model: ImageModel, batch: Batch, level: int, others: bool, seed: int = 0
) -> Tensor:
    """Images whose latents of one level are drawn anew, or those of all the other levels.

    Args:
        batch: with images and what the model is conditioned on.
        level: from 0, the finest.
        others: keep this level and draw the others anew.

    Returns:
        DRAWS integer images for each of the batch's, neighbours first: (B * DRAWS, C, H, W).
    """
    images = batch["image"]
    half = torch.full(images.shape, 0.5, device=images.device)
    context = model.context(batch)
    kept = model.flow.encode(model.dequantizer(images, half)[0], context)
    generator = torch.Generator(images.device).manual_seed(seed)
    drawn = model.flow.base_sample(len(images) * DRAWS, generator=generator)
    latents = [
        new if (number == level) != others else old.repeat_interleave(DRAWS, 0)
        for number, (old, new) in enumerate(zip(kept, drawn, strict=True))
    ]
    return model.dequantizer.quantize(model.flow.decode(latents, context and context.repeat(DRAWS)))


def levels_picture(model: ImageModel, batch: Batch) -> Figure:
    """For each image of a batch a row a level: this level drawn anew, and all others."""
    images, levels = batch["image"], len(model.flow.latent_shapes)
    rows = {}
    for level in range(levels):
        draws = [resampled_levels(model, batch, level, others) for others in (False, True)]
        rows[level] = [each.view(len(images), DRAWS, *images.shape[1:]).cpu() for each in draws]
    sizes = [math.prod(shape) for shape in model.flow.latent_shapes]
    strips, labels = [], []
    for number, image in enumerate(images.cpu().long()):
        for level in range(levels):
            alone, others = (each[number] for each in rows[level])
            strip = torch.cat([image[None], alone, others])
            strips.append(enlarged(as_colours(strip, model.num_bins)))
            labels.append(f"level {level}\n{sizes[level]} of {sum(sizes)} values")
    columns = ["image", *[""] * 2 * DRAWS]
    columns[1 + DRAWS // 2], columns[1 + DRAWS + DRAWS // 2] = (
        "level drawn anew",
        "all other levels drawn anew",
    )
    title = "Test images, with the latents of one level drawn anew, and with all others"
    return sheet(strips, labels, columns=columns, title=title)
