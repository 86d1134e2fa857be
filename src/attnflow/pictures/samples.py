"""Pictures of images and samples, as PNG files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torchvision.utils import make_grid, save_image

from attnflow.data.samples import Samples
from attnflow.metrics.images import fetch, spread
from attnflow.models.conditioning import ClassConditioning, ImageConditioning
from attnflow.models.image_model import Batch, ImageModel
from attnflow.pictures.sheet import as_colours, enlarged, sheet
from attnflow.utils.files import write_whole

__all__ = [
    "condition_rows",
    "image_grid",
    "interpolation",
    "save_picture",
    "slerp",
    "spread_batch",
    "temperature_rows",
    "transfer",
]

# Small images are enlarged, pixel by pixel, until a side has this many pixels.
READABLE_SIDE = 48


def image_grid(images: Tensor, num_bins: int, columns: int = 8) -> Tensor:
    """Integer images (N, C, H, W) as one picture: (3, H', W') in [0, 1], on the CPU."""
    pixels = images.float().cpu() / (num_bins - 1)
    return make_grid(enlarged(pixels, READABLE_SIDE), nrow=columns, padding=2, pad_value=0.5)


def save_picture(picture: Tensor, path: Path) -> Path:
    """Write a picture (3, H, W) in [0, 1] as PNG, making its folder if needed.

    Raises:
        WriteError: the disk is full, or whatever else is wrong with it.
    """
    content = io.BytesIO()
    save_image(picture, content, format="png")
    return write_whole(path, content.getbuffer())


def spread_batch(dataset: Samples, n: int, device: torch.device) -> Batch:
    """Up to ``n`` samples at equal distances in a data set, as a batch: not only its first ones."""
    return fetch(dataset, spread(len(dataset), n), device)


@torch.no_grad()
def temperature_rows(
    model: ImageModel, temperatures: Sequence[float], columns: int = 8, seed: int = 0
) -> Tensor:
    """Samples at several temperatures from the same latents: one row a temperature.

    Of a class model, the columns are the classes in turn.

    Returns:
        A picture, (3, H', W') in [0, 1].
    """
    device = next(model.parameters()).device
    conditions = None
    if model.conditioning is not None:
        conditioning = cast(ClassConditioning, model.conditioning)
        classes = torch.arange(columns, device=device) % conditioning.num_classes
        conditions = {"label": classes}
    rows = []
    for temperature in temperatures:
        generator = torch.Generator(device).manual_seed(seed)
        images = model.sample(columns, conditions, temperature, generator)
        rows.append(enlarged(as_colours(images, model.num_bins)))
    return sheet(rows, [f"T = {temperature:g}" for temperature in temperatures])


@torch.no_grad()
def interpolation(model: ImageModel, first: Tensor, second: Tensor, columns: int = 8) -> Tensor:
    """Interpolate from each image of ``first`` to its partner in ``second``, one row a pair.

    Latents are interpolated along the great circle, so that every step has the length that
    latents of the base have.

    Args:
        first, second: integer images, (R, C, H, W).

    Returns:
        Integer images, (R * columns, C, H, W); a row's ends are the two images themselves.
    """
    device = next(model.parameters()).device
    half = torch.full(first.shape, 0.5, device=device)
    ends = [model.flow.encode(model.dequantizer(x.to(device), half)[0]) for x in (first, second)]
    steps = torch.linspace(0, 1, columns, device=device)
    latents = [slerp(a, b, steps) for a, b in zip(*ends, strict=True)]
    return model.dequantizer.quantize(model.flow.decode(latents))


@torch.no_grad()
def condition_rows(model: ImageModel, batch: Batch, temperatures: Sequence[float]) -> Tensor:
    """One row a condition: itself, a sample at each temperature, the truth.

    Args:
        batch: with ``image`` and ``condition``.

    Returns:
        A picture, (3, H', W') in [0, 1].
    """
    truth = batch["image"]
    samples = [model.sample(len(truth), batch, temperature) for temperature in temperatures]
    conditioning = cast(ImageConditioning, model.conditioning)
    columns = [as_colours(batch["condition"], conditioning.num_bins)]
    columns += [as_colours(images, model.num_bins) for images in (*samples, truth)]
    rows = torch.stack(columns, 1).unbind()
    names = ["condition", *(f"T = {temperature:g}" for temperature in temperatures), "truth"]
    return sheet([enlarged(row) for row in rows], [""] * len(rows), columns=names)


@torch.no_grad()
def transfer(model: ImageModel, batch: Batch) -> Tensor:
    """Content transfer: each image's latents (a row) under the condition of each (a column).

    Returns:
        Integer images, (B * B, C, H, W); the diagonal holds the images themselves.
    """
    count = len(batch["image"])
    context = model.context(batch)
    half = torch.full(batch["image"].shape, 0.5, device=batch["image"].device)
    latents = model.flow.encode(model.dequantizer(batch["image"], half)[0], context)
    content = [latent.repeat_interleave(count, 0) for latent in latents]
    under = context and context.index(torch.arange(count).repeat(count))
    return model.dequantizer.quantize(model.flow.decode(content, under))


def slerp(a: Tensor, b: Tensor, steps: Tensor) -> Tensor:
    """Spherical interpolation of every pair of rows: (R, ...) -> (R * len(steps), ...)."""
    shape = a.shape[1:]
    a, b = a.flatten(1)[:, None], b.flatten(1)[:, None]
    cosine = torch.nn.functional.cosine_similarity(a, b, -1).clamp(-0.9999, 0.9999)
    angle = cosine.acos()[..., None]
    weight = steps[None, :, None]
    mixed = (((1 - weight) * angle).sin() * a + (weight * angle).sin() * b) / angle.sin()
    return mixed.flatten(0, 1).view(-1, *shape)
