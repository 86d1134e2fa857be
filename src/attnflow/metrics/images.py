"""Images as feature extractors read them, and batches of a data set by sample number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import default_collate
from torchvision.transforms.v2.functional import center_crop

from attnflow.data.samples import Samples
from attnflow.spec import DataSpec

__all__ = ["batches", "cut_padding", "fetch", "shuffled", "spread", "to_extract", "to_uint8"]


def to_extract(images: Tensor, spec: DataSpec) -> Tensor:
    """Integer images (B, C, H, W) of a data set as extractors read them.

    Padding, which is alike in samples and in real images and would only dilute a figure, is cut
    off; grey values become uint8 in 0 .. 255.
    """
    images = cut_padding(images, spec.unpadded_shape or spec.image_shape)
    return to_uint8(images, spec.num_bins)


def cut_padding(images: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The images (B, C, H, W) without what pads them around their own ``shape``."""
    return center_crop(images, list(shape[1:]))


def to_uint8(images: Tensor, num_bins: int) -> Tensor:
    """Integers 0 .. num_bins - 1 to uint8 0 .. 255, rounded to the nearest; (B, C, H, W)."""
    if num_bins == 256:
        return images.to(torch.uint8)
    return (images.double() * (255 / (num_bins - 1))).round().to(torch.uint8)


def fetch(
    dataset: Samples, indices: Sequence[int], device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """The samples of these numbers as one batch on ``device``."""
    whole = getattr(dataset, "__getitems__", None)
    samples = whole(list(indices)) if whole else [dataset[i] for i in indices]
    batch = samples if isinstance(samples, dict) else default_collate(samples)
    return {name: values.to(device) for name, values in batch.items()}


def batches(numbers: Iterable[int], size: int) -> Iterator[list[int]]:
    """Lists of at most ``size`` consecutive numbers."""
    batch: list[int] = []
    for number in numbers:
        batch.append(number)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def spread(length: int, n: int) -> list[int]:
    """Up to ``n`` of the numbers 0 .. length - 1, at equal distances."""
    n = min(n, length)
    return [row * length // n for row in range(n)]


def shuffled(count: int, seed: int) -> list[int]:
    """0 .. count - 1 in a random order.

    Data sets are often sorted, so their first images are not like the others.
    """
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
