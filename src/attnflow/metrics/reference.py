"""Feature statistics of a data set's real images, computed once and kept on disk."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from attnflow.data.base import ImageDataModule
from attnflow.metrics.extractor import FeatureExtractor
from attnflow.metrics.files import describe_split, digest, read, save
from attnflow.metrics.images import batches, fetch, shuffled, to_extract
from attnflow.utils.decoration import decoration
from attnflow.utils.distributed import all_reduce_sum, rank

__all__ = ["Reference", "compute_reference", "reference_of"]


@dataclass(frozen=True)
class Reference:
    """Statistics of N real images, by D features.

    Attributes:
        total: sum of the features, float64, (D,).
        outer: sum of their outer products, float64, (D, D).
        count: N, int64, ().
        features: of K images at random, float32, (K, D).
    """

    total: Tensor
    outer: Tensor
    count: Tensor
    features: Tensor


def reference_of(
    datamodule: ImageDataModule,
    split: str,
    extractor: FeatureExtractor,
    cache_dir: Path,
    batch_size: int,
    keep: int,
    ranks: int,
    device: torch.device,
) -> Reference:
    """The reference of a split, from its file if there is a sound one.

    Args:
        datamodule, split: whose images.
        extractor: loaded, on ``device``.
        cache_dir: where the file lies.
        batch_size: images at once.
        keep: K, the number of images whose features are kept; at most the split's.
        ranks: that share the work.
        device: of the result.
    """
    described = describe_split(datamodule, split)
    keep = min(keep, described["num_images"])
    key = digest({**described, "extractor": extractor.fingerprint, "kept_at_random": keep})
    path = cache_dir / f"{type(datamodule).__name__}_{split}_{key}.pt"
    cached = read_reference(path, extractor.num_features, keep)
    # Ranks on several machines may see other files; all compute, or none.
    found = all_reduce_sum(torch.tensor(int(cached is not None), device=device))
    if cached is None or found < ranks:
        cached = compute_reference(datamodule, split, extractor, batch_size, keep, ranks, device)
        if rank() == 0:
            with decoration(f"{path.name} in {cache_dir}"):  # computed anew by the next run
                save(path, asdict(cached))
    return Reference(**{name: value.to(device) for name, value in asdict(cached).items()})


def compute_reference(
    datamodule: ImageDataModule,
    split: str,
    extractor: FeatureExtractor,
    batch_size: int,
    keep: int,
    ranks: int,
    device: torch.device,
) -> Reference:
    """The reference from the images themselves, each rank reading its share."""
    dataset = datamodule.dataset(split)
    size = extractor.num_features
    total = torch.zeros(size, dtype=torch.float64, device=device)
    outer = torch.zeros(size, size, dtype=torch.float64, device=device)
    kept = torch.zeros(keep, size, device=device)
    places = {number: place for place, number in enumerate(shuffled(len(dataset), 0)[:keep])}
    for numbers in batches(range(rank(), len(dataset), ranks), batch_size):
        images = fetch(dataset, numbers)["image"].to(device)
        features = extractor(to_extract(images, datamodule.spec))
        wide = features.double()
        total += wide.sum(0)
        outer += wide.T @ wide
        for number, row in zip(numbers, features, strict=True):
            if number in places:
                kept[places[number]] = row
    return Reference(
        total=all_reduce_sum(total),
        outer=all_reduce_sum(outer),
        count=torch.tensor(len(dataset), device=device),
        features=all_reduce_sum(kept),  # every row is one rank's own, and zero elsewhere
    )


def read_reference(path: Path, num_features: int, keep: int) -> Reference | None:
    """A reference from its file; None where the file is missing, damaged or another one's."""
    held = read(path)
    shapes = {
        "total": (num_features,),
        "outer": (num_features, num_features),
        "count": (),
        "features": (keep, num_features),
    }
    if not isinstance(held, dict) or held.keys() != shapes.keys():
        return None
    sound = all(isinstance(held[k], Tensor) and held[k].shape == s for k, s in shapes.items())
    return Reference(**held) if sound else None
