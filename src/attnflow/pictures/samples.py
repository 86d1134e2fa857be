"""Pictures of images and samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from matplotlib.figure import Figure
from torch import Tensor

from attnflow.data.samples import Samples
from attnflow.metrics.images import fetch, spread
from attnflow.models.conditioning import ClassConditioning, ImageConditioning
from attnflow.models.image_model import Batch, ImageModel
from attnflow.pictures.sheet import as_colours, enlarged, sheet

__all__ = [
    "class_labels",
    "condition_rows",
    "image_grid",
    "interpolation",
    "slerp",
    "spread_batch",
    "temperature_rows",
    "transfer",
]

COLUMNS = 8  # of a grid


def image_grid(
    images: Tensor,
    num_bins: int,
    title: str = "",
    labels: Sequence[str] = (),
    columns: int = COLUMNS,
    heads: Sequence[str] = (),
) -> Figure:
    """Integer images (N, C, H, W) in rows.

    Args:
        images: to show.
        num_bins: of their grey values.
        title: above them.
        labels: to the left of the rows.
        columns: images a row.
        heads: above the columns.
    """
    rows = enlarged(as_colours(images, num_bins)).split(columns)
    return sheet(rows, labels or [""] * len(rows), columns=heads, title=title)


def class_labels(conditions: Batch | None, columns: int = COLUMNS) -> list[str]:
    """What stands beside the rows of a grid: their class, where a row has one."""
    if conditions is None or "label" not in conditions:
        return []
    rows = conditions["label"].split(columns)
    return [f"class {int(row[0])}" if (row == row[0]).all() else "" for row in rows]


def spread_batch(dataset: Samples, n: int, device: torch.device) -> Batch:
    """Up to ``n`` samples at equal distances in a data set, as a batch: not only its first ones."""
    return fetch(dataset, spread(len(dataset), n), device)


@torch.no_grad()
def temperature_rows(
    model: ImageModel, temperatures: Sequence[float], columns: int = 8, seed: int = 0
) -> Figure:
    """Samples at several temperatures from the same latents: one row a temperature.

    Of a class model, the columns are the classes in turn.
    """
    device = next(model.parameters()).device
    conditions, heads = None, []
    if model.conditioning is not None:
        conditioning = cast(ClassConditioning, model.conditioning)
        classes = torch.arange(columns, device=device) % conditioning.num_classes
        conditions, heads = {"label": classes}, [f"class {each}" for each in classes.tolist()]
    rows = []
    for temperature in temperatures:
        generator = torch.Generator(device).manual_seed(seed)
        images = model.sample(columns, conditions, temperature, generator)
        rows.append(enlarged(as_colours(images, model.num_bins)))
    title = "Samples of the same latents, whose standard deviation is T"
    labels = [f"T = {temperature:g}" for temperature in temperatures]
    return sheet(rows, labels, columns=heads, title=title)


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
def condition_rows(model: ImageModel, batch: Batch, temperatures: Sequence[float]) -> Figure:
    """One row a condition: itself, a sample at each temperature, the truth.

    Args:
        batch: with ``image`` and ``condition``.
    """
    truth = batch["image"]
    samples = [model.sample(len(truth), batch, temperature) for temperature in temperatures]
    conditioning = cast(ImageConditioning, model.conditioning)
    columns = [as_colours(batch["condition"], conditioning.num_bins)]
    columns += [as_colours(images, model.num_bins) for images in (*samples, truth)]
    rows = torch.stack(columns, 1).unbind()
    names = ["condition", *(f"T = {temperature:g}" for temperature in temperatures), "truth"]
    title = "Condition images of the test split, samples at temperature T, and the truth"
    return sheet([enlarged(row) for row in rows], [""] * len(rows), columns=names, title=title)


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
