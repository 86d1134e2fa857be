"""The order of training images, a function of the seed, the epoch and the position in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, DistributedSampler

from attnflow.data.samples import Samples

__all__ = ["EpochSampler", "LazyLoader", "NumberedEpochSampler"]

CHUNK = 4096  # numbers of samples that are listed at once


class EpochSampler(DistributedSampler):
    """A rank's share of an epoch, shuffled by (seed, epoch), from where training has come to.

    Lightning tells it the epoch. Shares interleave: the k-th global batch holds the same images
    whatever the number of ranks.

    Args:
        dataset: whose samples are numbered.
        ranks, rank: how many share an epoch, and which of them this is.
        seed: of the order.
        done: how many samples of its share this rank has had, asked at the start of an epoch.
    """

    def __init__(
        self, dataset: Samples, ranks: int, rank: int, seed: int, done: Callable[[], int]
    ) -> None:
        super().__init__(dataset, ranks, rank, shuffle=True, seed=seed, drop_last=True)
        self.length, self.done = len(dataset), done

    def __iter__(self) -> Iterator[int]:
        # The order that torch's own sampler gives, as a tensor: a list takes five times the memory.
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(self.length, generator=generator)[: self.total_size]
        share = order[self.rank :: self.num_replicas][self.done() :]
        return (index for some in share.split(CHUNK) for index in some.tolist())


class NumberedEpochSampler(EpochSampler):
    """Numbers samples epoch * len + index, so that the epoch reaches the workers too."""

    def __iter__(self) -> Iterator[int]:
        start = self.epoch * self.length
        return (start + index for index in super().__iter__())


class LazyLoader(DataLoader):
    """Starts an epoch when its first batch is asked for.

    Lightning makes the first iterator before it has restored the epoch and the batch to go on
    from, and workers would at once read ahead in the wrong ones.
    """

    def __iter__(self) -> Any:  # torch promises its own kind of iterator
        yield from super().__iter__()
