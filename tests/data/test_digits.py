"""The digits, and what every DataModule promises."""

from __future__ import annotations

import pytest
import torch

from attnflow import AttnFlowError
from attnflow.data import DigitsDataModule


class TwoRanks:
    """What a data module asks of a trainer."""

    world_size, num_processes = 2, 1

    def __init__(self, rank: int) -> None:
        self.global_rank = rank


def test_splits() -> None:
    digits = DigitsDataModule()
    sizes = {split: len(digits.dataset(split)) for split in ("train", "val", "test")}
    assert sizes == {"train": 1200, "val": 300, "test": 297}
    images = torch.cat([digits.dataset(split).fields["image"] for split in sizes])
    assert images.shape == (1797, *digits.spec.image_shape)
    assert images.dtype == torch.uint8
    assert images.max() == digits.spec.num_bins - 1
    from sklearn.datasets import load_digits

    assert images.sum() == load_digits().images.sum()  # every image once


def test_batches_hold_what_the_model_reads() -> None:
    batch = next(iter(DigitsDataModule(global_batch_size=5).val_dataloader()))
    assert batch["image"].shape == (5, 1, 8, 8)
    assert batch["index"].tolist() == [0, 1, 2, 3, 4]
    assert batch["label"].shape == (5,)


def test_training_order_depends_on_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        loader = DigitsDataModule(seed=seed).train_dataloader()
        loader.sampler.set_epoch(epoch)
        return torch.cat([batch["index"] for batch in loader]).tolist()

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)
    assert len(set(order(0, 0))) == 1152  # 18 whole batches, no image twice


@pytest.mark.parametrize("split", ["val", "test"])
def test_ranks_share_an_evaluation_without_repeating(split) -> None:
    seen = []
    for rank in range(2):
        digits = DigitsDataModule(global_batch_size=32)
        digits.trainer = TwoRanks(rank)
        loader = getattr(digits, f"{split}_dataloader")()
        seen += [index for batch in loader for index in batch["index"].tolist()]
    assert sorted(seen) == list(range(len(digits.dataset(split))))


def test_bad_batch_sizes_are_named() -> None:
    with pytest.raises(AttnFlowError, match="global_batch_size: expected 1 or more, got 0"):
        DigitsDataModule(global_batch_size=0)
    with pytest.raises(AttnFlowError, match=r"at most 1200, .* got 2000"):
        DigitsDataModule(global_batch_size=2000).train_dataloader()
