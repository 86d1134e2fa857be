"""Samples beside their nearest training images, which show memorised ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from attnflow.data.samples import Samples
from attnflow.metrics.images import batches, fetch, spread
from attnflow.pictures.sheet import as_colours, enlarged, sheet

__all__ = ["Neighbours", "nearest_neighbours", "neighbours_picture"]

BATCH_VALUES = 2**24  # of the training images that are compared at once: 64 MiB
COLUMNS, MOST_PAIRS = 8, 24


@dataclass(frozen=True)
class Neighbours:
    """Images and their nearest ones, the closest pair first.

    Attributes:
        images, nearest: (N, C, H, W), integers, on the CPU.
        distances: (N,), the L2 distance of pixel values scaled to [0, 1].
        searched: how many images the nearest were looked for in.
    """

    images: Tensor
    nearest: Tensor
    distances: Tensor
    searched: int

    @property
    def mean_distance(self) -> float:
        """The mean distance over the images."""
        return float(self.distances.mean())


@torch.no_grad()
def nearest_neighbours(
    images: Tensor, dataset: Samples, num_bins: int, most_searched: int
) -> Neighbours:
    """The nearest image of a data set for each of ``images`` (N, C, H, W), integers.

    Of a larger data set, ``most_searched`` images at equal distances are looked at.
    """
    searched = spread(len(dataset), most_searched)
    queries = _scaled(images, num_bins)
    best = torch.full((len(images),), torch.inf, device=images.device)
    numbers = torch.zeros(len(images), dtype=torch.long, device=images.device)
    batch_size = max(1, BATCH_VALUES // queries.shape[1])
    for rows in batches(searched, batch_size):
        candidates = fetch(dataset, rows)["image"].to(images.device)
        distances, nearest = torch.cdist(queries, _scaled(candidates, num_bins)).min(1)
        closer = distances < best
        best = torch.where(closer, distances, best)
        at = torch.tensor(rows, device=images.device)
        numbers = torch.where(closer, at[nearest], numbers)
    found = fetch(dataset, numbers.tolist())["image"]
    # cdist loses the last digits by its use of a matrix product; a copy must have distance 0.
    exact = (queries.cpu() - _scaled(found, num_bins)).norm(dim=1)
    order = exact.argsort()
    return Neighbours(images.cpu()[order], found[order], exact[order], len(searched))


def neighbours_picture(samples: Neighbours, real: Neighbours, num_bins: int) -> Figure:
    """Samples, each above its nearest training image, the closest first.

    Args:
        real: the same for test images, whose mean distance is what to compare with.
    """
    pairs = zip(
        *(
            enlarged(as_colours(images[:MOST_PAIRS], num_bins)).split(COLUMNS)
            for images in (samples.images, samples.nearest)
        ),
        strict=True,
    )
    rows = [row for pair in pairs for row in pair]
    title = (
        "Samples above their nearest training images, the closest first\n"
        f"L2 distance to the nearest of {samples.searched:,} training images, on average: "
        f"{samples.mean_distance:.2f} for samples, {real.mean_distance:.2f} for test images"
    )
    return sheet(rows, ["sample", "nearest"] * (len(rows) // 2), title=title)


def _scaled(images: Tensor, num_bins: int) -> Tensor:
    """Flatten images and scale them to [0, 1]: (N, D)."""
    return images.flatten(1).float() / (num_bins - 1)
