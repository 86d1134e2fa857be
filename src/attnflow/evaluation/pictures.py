"""Pictures of images and samples, as PNG files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.utils import make_grid, save_image

from attnflow.image_model import ImageModel

__all__ = ["image_grid", "interpolation", "save_picture", "temperature_rows"]

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


def _slerp(a: Tensor, b: Tensor, steps: Tensor) -> Tensor:
    """Spherical interpolation of every pair of rows: (R, ...) -> (R * len(steps), ...)."""
    shape = a.shape[1:]
    a, b = a.flatten(1)[:, None], b.flatten(1)[:, None]
    cosine = torch.nn.functional.cosine_similarity(a, b, -1).clamp(-0.9999, 0.9999)
    angle = cosine.acos()[..., None]
    weight = steps[None, :, None]
    mixed = (((1 - weight) * angle).sin() * a + (weight * angle).sin() * b) / angle.sin()
    return mixed.flatten(0, 1).view(-1, *shape)
