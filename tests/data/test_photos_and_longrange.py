"""The data sets that are cut or made on the spot."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images

from attnflow import AttnFlowError
from attnflow.data import DigitsDataModule, LongRangeDataModule, PhotosDataModule


@pytest.mark.parametrize("size", [16, 32])
def test_photos_are_patches_of_the_photographs(size) -> None:
    photos = PhotosDataModule(size=size)
    assert photos.spec.image_shape == (3, size, size)
    first, _ = load_sample_images().images
    patch = photos.dataset("train").fields["image"][0]
    np.testing.assert_array_equal(patch.permute(1, 2, 0).numpy(), first[:size, :size])
    for split in ("train", "val", "test"):
        assert len(photos.dataset(split)) >= 30
        assert photos.dataset(split).fields["image"].dtype == torch.uint8


def test_photo_splits_share_no_pixel() -> None:
    """Every split is cut from its own columns; photographs do not repeat whole patches."""
    photos = PhotosDataModule(size=16)
    seen = [
        {p.numpy().tobytes() for p in photos.dataset(split).fields["image"]}
        for split in ("train", "val", "test")
    ]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


def test_reduced_bit_depth() -> None:
    full = PhotosDataModule().dataset("val").fields["image"]
    photos = PhotosDataModule(num_bits=5)
    reduced = photos.dataset("val").fields["image"]
    assert photos.spec.num_bins == 32
    assert torch.equal(reduced, full // 8)


OFFSETS = [(0, 8), (4, 8), (3, 8), (7, 5)]


@pytest.mark.parametrize("offset", [4, *OFFSETS])
def test_longrange_entropy_is_the_one_of_its_samples(offset) -> None:
    data = LongRangeDataModule(num_train=4096, offset=offset)
    assert data.entropy == pytest.approx(2.408, abs=1e-3)
    images = data.dataset("train").fields["image"].long()
    rows, columns = (offset, 8) if offset == 4 else offset
    source = images.roll((rows, columns), (2, 3))[..., 8:]
    assert (source == images[..., 8:]).float().mean().item() == pytest.approx(0.90625, abs=2e-3)
    joint = torch.zeros(16, 16)
    right = images[..., 8:]
    joint.index_put_((source.flatten(), right.flatten()), torch.tensor(1.0), accumulate=True)
    joint /= joint.sum()
    conditional = -(joint * (joint / joint.sum(1, keepdim=True)).log2()).sum()
    marginal = -(joint.sum(1) * joint.sum(1).log2()).sum()
    assert ((conditional + marginal) / 2).item() == pytest.approx(data.entropy, abs=5e-3)


@pytest.mark.parametrize("offset", [4, *OFFSETS])
def test_longrange_copies_without_replacement_from_the_left_half_alone(offset) -> None:
    data = LongRangeDataModule(num_train=64, offset=offset, replaced=0)
    images = data.dataset("train").fields["image"]
    rows, columns = (4, 8) if offset == 4 else offset
    for row, column in ((0, 8), (3, 12), (15, 15)):
        above, left = row, column
        while left >= 8:
            above, left = (above - rows) % 16, left - columns
        assert torch.equal(images[..., row, column], images[..., above, left])


def test_longrange_offset_of_rows_alone_is_of_half_the_side() -> None:
    for size in (8, 16):
        alone, both = (
            LongRangeDataModule(size, offset=offset, num_train=64).dataset("train")
            for offset in (3, (3, size // 2))
        )
        assert torch.equal(alone.fields["image"], both.fields["image"])


def test_longrange_limits() -> None:
    assert LongRangeDataModule(replaced=0).entropy == 2.0
    assert LongRangeDataModule(replaced=1).entropy == pytest.approx(math.log2(16))


def test_longrange_splits_differ_and_repeat() -> None:
    first, again = LongRangeDataModule(num_train=64), LongRangeDataModule(num_train=64)
    assert torch.equal(first.dataset("val").fields["image"], again.dataset("val").fields["image"])
    train, val = (first.dataset(split).fields["image"] for split in ("train", "val"))
    assert not torch.equal(train[:16], val)


@pytest.mark.parametrize("make", [DigitsDataModule, LongRangeDataModule, PhotosDataModule])
def test_the_seed_changes_the_order_and_nothing_else(make) -> None:
    """Case C5: the split and the images that are made stay."""
    first, same, other = (make(seed=seed) for seed in (5, 5, 6))
    orders = [next(iter(data.train_dataloader()))["index"] for data in (first, same, other)]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
    for split in ("train", "val", "test"):
        images = [data.dataset(split).fields["image"] for data in (first, other)]
        assert torch.equal(*images)
    batches = [next(iter(data.test_dataloader()))["index"] for data in (first, other)]
    assert torch.equal(*batches)


def test_longrange_images_are_those_that_results_were_measured_on() -> None:
    image = LongRangeDataModule(num_train=64, seed=7).dataset("test").fields["image"][0, 0]
    generator = torch.Generator().manual_seed(2)
    assert torch.equal(image[:, :8], torch.randint(16, (16, 1, 16, 8), generator=generator)[0, 0])


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (
            PhotosDataModule,
            {"num_bits": 0},
            "num_bits: expected a whole number from 1 to 8, got 0.",
        ),
        (
            PhotosDataModule,
            {"num_bits": 9},
            "num_bits: expected a whole number from 1 to 8, got 9.",
        ),
        (PhotosDataModule, {"size": 128}, "size: expected 2 to 96 pixels"),
        (LongRangeDataModule, {"size": 7}, "size: expected an even number of 2 or more, got 7."),
        (
            LongRangeDataModule,
            {"num_levels": 1},
            "num_levels: expected a whole number from 2 to 256, got 1.",
        ),
        (
            LongRangeDataModule,
            {"replaced": 1.5},
            "replaced: expected a share from 0 to 1, got 1.5.",
        ),
        *(
            (
                LongRangeDataModule,
                {"offset": offset},
                r"offset: expected \(rows, columns\) from \(0, 1\) to \(15, 8\) at a size of 16",
            )
            for offset in ([16, 8], [-1, 8], [4, 0], [4, 9], [4], [4, 8, 1])
        ),
    ],
)
def test_bad_options_are_named(make, arguments, message) -> None:
    with pytest.raises(AttnFlowError, match=message):
        make(**arguments)
