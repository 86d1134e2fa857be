"""The number of images behind a run's figures."""

from __future__ import annotations

import math

from lightning import Trainer

from attnflow.data.base import SPLITS, ImageDataModule

__all__ = ["image_counts"]


def image_counts(datamodule: ImageDataModule, trainer: Trainer) -> dict[str, int]:
    """``data/{split}_images`` of the splits that were read, and ``data/{split}_left_out``.

    Validation and test images are counted within the trainer's limits. Left-out files are counted
    in the folder of a split, or in the one that splits were cut from. What a data set counts
    besides, such as ``data/{split}_photographs``, is among them.
    """
    limits = {"val": trainer.limit_val_batches, "test": trainer.limit_test_batches}
    counts = {}
    for split in (split for split in SPLITS if split in datamodule.datasets):
        number = len(datamodule.datasets[split])
        counts[f"data/{split}_images"] = min(
            number, _allowed(number, datamodule, trainer.world_size, limits.get(split, 1.0))
        )
        for name, further in datamodule.further_counts(split).items():
            counts[f"data/{split}_{name}"] = further
        left_out = datamodule.left_out(split).total()
        if left_out:
            counts[f"data/{split}_left_out"] = left_out
    return counts


def _allowed(number: int, datamodule: ImageDataModule, ranks: int, limit: int | float) -> int:
    """The images of as many batches as ``limit`` is, or of a share of all where it is a float."""
    size = math.ceil(datamodule.global_batch_size / ranks)
    if isinstance(limit, float):
        limit = int(limit * math.ceil(math.ceil(number / ranks) / size))
    return limit * size * ranks
