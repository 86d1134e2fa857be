"""Pictures of images and samples, as PNG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset, default_collate
from torchvision.utils import make_grid, save_image

from attnflow.image_model import Batch, ImageModel
from attnflow.metrics.images import fetch

__all__ = [
    "condition_rows",
    "image_grid",
    "interpolation",
    "save_picture",
    "spread_batch",
    "temperature_rows",
    "transfer",
]

# Small images are enlarged, pixel by pixel, until a side has this many pixels.
READABLE_SIDE = 48


def image_grid(images: Tensor, num_bins: int, columns: int = 8) -> Tensor:
    """Integer images (N, C, H, W) as one picture: (3, H', W') in [0, 1], on the CPU."""
    pixels = images.float().cpu() / (num_bins - 1)
    factor = max(1, READABLE_SIDE // min(pixels.shape[-2:]))
    pixels = F.interpolate(pixels, scale_factor=factor, mode="nearest")
    return make_grid(pixels, nrow=columns, padding=2, pad_value=0.5)


def save_picture(picture: Tensor, path: Path) -> Path:
    """Write a picture (3, H, W) in [0, 1] as PNG, making its folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(picture, path)
    return path


def spread_batch(dataset: Dataset, n: int, device: torch.device) -> Batch:
    """Up to ``n`` samples at equal distances in a data set, as a batch: not only its first ones."""
    n = min(n, len(dataset))
    numbers = [row * len(dataset) // n for row in range(n)]
    return {name: values.to(device) for name, values in fetch(dataset, numbers).items()}


@torch.no_grad()
def temperature_rows(
    model: ImageModel, temperatures: tuple[float, ...], columns: int = 8, seed: int = 0
) -> Tensor:
    """Samples at several temperatures from the same latents: one row a temperature.

    Returns:
        Integer images, (len(temperatures) * columns, C, H, W).
    """
    rows = []
    for temperature in temperatures:
        generator = torch.Generator(next(model.parameters()).device).manual_seed(seed)
        rows.append(model.sample(columns, temperature=temperature, generator=generator))
    return torch.cat(rows)


@torch.no_grad()
def interpolation(model: ImageModel, first: Tensor, second: Tensor, columns: int = 8) -> Tensor:
    """From each image of ``first`` to its partner in ``second``, one row a pair.

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
    latents = [_slerp(a, b, steps) for a, b in zip(*ends, strict=True)]
    return model.dequantizer.quantize(model.flow.decode(latents))


@torch.no_grad()
def condition_rows(
    model: ImageModel, rows: Sequence[Mapping[str, Tensor]], temperatures: tuple[float, ...]
) -> Tensor:
    """One row a sample: its condition, a sample at each temperature, the truth.

    Args:
        rows: samples of a data set, each with ``image`` and ``condition``.

    Returns:
        A picture, (3, H', W') in [0, 1].
    """
    batch = _batch_of(model, rows)
    samples = [model.sample(len(rows), batch, temperature) for temperature in temperatures]
    columns = [_as_colours(batch["condition"] / (model.conditioning.num_bins - 1))]
    columns += [_as_colours(images / (model.num_bins - 1)) for images in [*samples, batch["image"]]]
    return image_grid(torch.stack(columns, 1).flatten(0, 1), 2, len(columns))


def _as_colours(images: Tensor) -> Tensor:
    """Three channels: grey repeated; of more (one-hot labels) the number of the label as grey."""
    if images.shape[1] > 3:
        images = images.argmax(1, keepdim=True) / (images.shape[1] - 1)
    return images.expand(-1, 3, -1, -1)


@torch.no_grad()
def transfer(model: ImageModel, rows: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Content transfer: each sample's latents (a row) under the condition of each (a column).

    Returns:
        Integer images, (R * R, C, H, W); the diagonal holds the samples themselves.
    """
    count, batch = len(rows), _batch_of(model, rows)
    context = model.context(batch)
    half = torch.full(batch["image"].shape, 0.5, device=batch["image"].device)
    latents = model.flow.encode(model.dequantizer(batch["image"], half)[0], context)
    content = [latent.repeat_interleave(count, 0) for latent in latents]
    under = context.index(torch.arange(count).repeat(count))
    return model.dequantizer.quantize(model.flow.decode(content, under))


def _batch_of(model: ImageModel, rows: Sequence[Mapping[str, Tensor]]) -> Batch:
    """Samples of a data set as a batch, where the model is."""
    device = next(model.parameters()).device
    return {name: values.to(device) for name, values in default_collate(list(rows)).items()}


def _slerp(a: Tensor, b: Tensor, steps: Tensor) -> Tensor:
    """Spherical interpolation of every pair of rows: (R, ...) -> (R * len(steps), ...)."""
    shape = a.shape[1:]
    a, b = a.flatten(1)[:, None], b.flatten(1)[:, None]
    cosine = torch.nn.functional.cosine_similarity(a, b, -1).clamp(-0.9999, 0.9999)
    angle = cosine.acos()[..., None]
    weight = steps[None, :, None]
    mixed = (((1 - weight) * angle).sin() * a + (weight * angle).sin() * b) / angle.sin()
    return mixed.flatten(0, 1).view(-1, *shape)
