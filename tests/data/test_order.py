"""The order of training images, and the list of their files."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
import torch
from torch.utils.data import DistributedSampler

from attnflow.data.finding import FileList
from attnflow.data.order import EpochSampler
from attnflow.data.samples import TensorImages


@pytest.mark.parametrize(("ranks", "done"), [(1, 0), (1, 7), (3, 0), (3, 5)])
def test_the_order_is_that_of_torchs_own_sampler(ranks, done) -> None:
    dataset = TensorImages(torch.zeros(10_001, 1, 1, 1, dtype=torch.uint8))
    for rank in range(ranks):
        sampler = EpochSampler(dataset, ranks, rank, 5, lambda: done)
        expected = DistributedSampler(dataset, ranks, rank, seed=5, drop_last=True)
        for each in (sampler, expected):
            each.set_epoch(3)
        assert list(sampler) == list(expected)[done:]


def test_the_order_takes_eight_bytes_an_image() -> None:
    """Of which Python's own memory is none: lists of numbers took 40."""
    dataset = range(300_000)
    sampler = EpochSampler(dataset, 1, 0, 0, lambda: 0)
    tracemalloc.start()
    order = iter(sampler)
    next(order)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1e6


def test_a_list_of_files_is_as_one_of_paths_and_smaller() -> None:
    paths = [f"/images/part {n // 100}/caf\u00e9 {n:06d}.png" for n in range(20_000)]
    paths.append("/images/\udcff.png")  # a name that is no UTF-8
    tracemalloc.start()
    files = FileList(Path("/images"), paths)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert list(files) == list(map(Path, paths))
    assert files[-1] == Path(paths[-1])
    assert list(files[5:9:2]) == [Path(paths[5]), Path(paths[7])]
    assert Path(paths[77]) in files
    assert held < 60 * len(paths)
    with pytest.raises(IndexError):
        files[len(paths)]
