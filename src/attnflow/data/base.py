"""The base of all data sets: integer images in splits, delivered in batches."""

from __future__ import annotations

import logging
import math
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from pathlib import Path

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import Self, TypedDict

from attnflow.data.augmentation import Augmented, check_augment
from attnflow.data.marks import mark_of
from attnflow.data.order import EpochSampler, LazyLoader, NumberedEpochSampler
from attnflow.data.samples import Samples
from attnflow.errors import AttnFlowError, check_least
from attnflow.spec import DataSpec
from attnflow.utils.signals import ENDING
from attnflow.utils.validation import check_options

__all__ = ["SPLITS", "DataSpec", "ImageDataModule", "LoaderOptions", "share_of_a_batch"]

log = logging.getLogger(__name__)
SPLITS = ("train", "val", "test")


class LoaderOptions(TypedDict, total=False):
    """The arguments of :class:`ImageDataModule`, which every data set takes."""

    global_batch_size: int
    num_workers: int
    seed: int
    augment: Sequence[Callable]


class ImageDataModule(LightningDataModule):
    """Batches of integer images in a train, a val and a test split.

    A subclass defines :attr:`spec`, known before any download, and :meth:`read`; where files
    must be downloaded, Lightning's ``prepare_data`` does it.

    A batch is a dict: ``image`` (B, C, H, W), uint8 in 0 .. num_bins - 1; ``index`` (B,), the
    sample's number in its split; where the data set has them ``label`` (B,) and
    ``condition`` (B, C', H', W').

    Every rank reads its own share. Of a training batch the shares are equal (the incomplete last
    batch is left out), and the batches are the same ones whatever the number of ranks; validation
    and test sets are shared out without repeating a sample.

    Args:
        global_batch_size: images a training step sees, over all ranks.
        num_workers: processes that read; 0 reads in the training process.
        seed: of the training order and of the augmentation.
        augment: torchvision v2 transforms of the training images, and the same ones of their
            condition images; they keep the shape.

    Attributes:
        to_test: whether the model that is trained on the data will be tested on it too.
    """

    to_test = True

    def __init__(
        self,
        global_batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
        augment: Sequence[Callable] = (),
    ) -> None:
        super().__init__()
        numbers = {"global_batch_size": global_batch_size, "num_workers": num_workers, "seed": seed}
        check_options(ImageDataModule, numbers, "")
        check_least("global_batch_size", global_batch_size, 1)
        check_least("num_workers", num_workers, 0)
        self.global_batch_size, self.num_workers, self.seed = global_batch_size, num_workers, seed
        self.augment = check_augment(augment)
        self.datasets: dict[str, Samples] = {}
        self._marks: dict[str, str | None] = {}

    @property
    def spec(self) -> DataSpec:
        """Shapes and numbers of the data, known before any of it is read."""
        raise NotImplementedError

    @property
    def entropy(self) -> float | None:
        """The exact entropy of the images in bits/dim, where it is known."""
        return None

    def read(self, split: str) -> Samples:
        """One split's images; called once."""
        raise NotImplementedError

    def detached(self) -> Self:
        """A copy without trainer and images: a worker that is not forked is sent nothing else."""
        alone = copy(self)
        alone.trainer, alone.datasets = None, {}
        return alone

    def setup(self, stage: str | None = None) -> None:
        """Read the splits that a stage needs; every split is read once.

        Before training it is all of them, so that a bad test image stops a run at its start, but
        for the test images where :attr:`to_test` is False.
        """
        wanted: dict[str | None, Sequence[str]] = {"validate": ("val",), "test": ("test",)}
        if not self.to_test:
            wanted["fit"] = ("train", "val")
        for split in wanted.get(stage, SPLITS):
            self.dataset(split)

    def dataset(self, split: str) -> Samples:
        """The images of ``split``, read at the first call, which tells their number."""
        if split not in self.datasets:
            self.datasets[split] = self.read(split)
            self.mark(split)  # now: files that are held in memory may be gone later
            if self._ranks()[1] == 0:
                log.info(self._summary(split))
        return self.datasets[split]

    def mark(self, split: str) -> str | None:
        """A hash by which a split's images are known again; None where nothing tells them apart."""
        if split not in self._marks:
            self._marks[split] = mark_of(self.traits(split))
        return self._marks[split]

    def traits(self, split: str) -> Iterable[bytes] | None:
        """What tells a split's images from others; None where nothing does.

        It is cheap of a million images, and the same for the same ones wherever they are.
        """
        samples = self.dataset(split)
        return samples.traits() if isinstance(samples, Samples) else None

    @property
    def splits_read(self) -> dict[str, dict[str, int | str | None]]:
        """The number of ``images`` of each split that was read, and their ``mark``."""
        return {
            split: {"images": len(samples), "mark": self.mark(split)}
            for split, samples in self.datasets.items()
        }

    def origin(self, split: str) -> str:
        """Name the source of a split's images for messages: the folder, if there is one."""
        return str(getattr(self, "data_dir", type(self).__name__))

    def remark(self, split: str) -> str:
        """What the line on a split says besides of where its images come from."""
        return ""

    def left_out(self, split: str) -> Counter[str]:
        """How many files were left out where a split's images come from, by the reason."""
        return Counter()

    def further_counts(self, split: str) -> dict[str, int]:
        """What else is counted of a split, by its name."""
        return {}

    @property
    def settled(self) -> dict[str, object]:
        """Options that a checkpoint must hold in another way than they were given.

        ``data_dir`` is absolute, so that it is found from any other folder.
        """
        folder = getattr(self, "data_dir", None)
        return {} if folder is None else {"data_dir": str(folder)}

    @property
    def writes_to(self) -> dict[str, Path]:
        """The folders that preparing the images would write to now, by the options that say so.

        Not the library's own ones, nor a folder where all is there already.
        """
        return {}

    def _summary(self, split: str) -> str:
        """One line on a split: number of images, origin, what was left out and why."""
        line = f"{split}: {len(self.datasets[split]):,} images of {self.origin(split)}"
        line += self.remark(split)
        left_out = self.left_out(split)
        reasons = [f"{number:,} {reason}" for reason, number in left_out.most_common(5)]
        others = left_out.total() - sum(number for _, number in left_out.most_common(5))
        if others:
            reasons.append(f"{others:,} others")
        return f"{line}, left out: {', '.join(reasons)}" if reasons else line

    def train_dataloader(self) -> DataLoader:
        dataset = self.dataset("train")
        ranks, rank = self._ranks()
        size = share_of_a_batch(self.global_batch_size, ranks)
        if len(dataset) < self.global_batch_size:
            raise AttnFlowError(
                f"data.global_batch_size: expected at most {len(dataset)}, the images of the "
                f"training split, got {self.global_batch_size}."
            )
        kind = EpochSampler
        if self.augment:
            dataset, kind = Augmented(dataset, self.augment, self.seed), NumberedEpochSampler
        sampler = kind(dataset, ranks, rank, self.seed, lambda: size * self._batches_done())
        return self._loader(dataset, sampler, size, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader:
        return self._evaluation_loader("test")

    def _evaluation_loader(self, split: str) -> DataLoader:
        dataset = self.dataset(split)
        ranks, rank = self._ranks()
        if len(dataset) < ranks:
            raise AttnFlowError(
                f"the {split} split: expected an image or more a rank, got {len(dataset)} images "
                f"on {ranks} ranks."
            )
        size = math.ceil(self.global_batch_size / ranks)
        return self._loader(dataset, range(rank, len(dataset), ranks), size)

    def _loader(
        self, dataset: Samples, sampler: Iterable[int], batch_size: int, drop_last: bool = False
    ) -> DataLoader:
        return LazyLoader(
            dataset,
            batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=_leave_signals_to_the_parent,
            collate_fn=_as_batch,
            # A generator of its own: a new epoch would else draw from the one that dropout uses.
            generator=torch.Generator().manual_seed(self.seed),
            pin_memory=torch.cuda.is_available(),
        )

    def _batches_done(self) -> int:
        """Batches of this epoch that training has had already, before it was interrupted."""
        return self.trainer.fit_loop.epoch_loop.batch_progress.current.ready if self.trainer else 0

    def _ranks(self) -> tuple[int, int]:
        """The number of ranks and this process's rank; (1, 0) outside a trainer."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)


def share_of_a_batch(size: int, ranks: int) -> int:
    """How many images of a batch each rank takes; raises :class:`AttnFlowError` for a remainder."""
    share, left_over = divmod(size, ranks)
    if left_over:
        raise AttnFlowError(
            f"data.global_batch_size: expected a multiple of {ranks}, the number of ranks, got "
            f"{size}."
        )
    return share


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ignore Ctrl-C in a loader's worker, which ends together with its parent."""
    for signum in ENDING:
        signal.signal(signum, signal.SIG_IGN)


def _as_batch(samples: dict[str, Tensor] | list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Stack samples that were read one by one; return a whole batch unchanged."""
    return samples if isinstance(samples, dict) else torch.utils.data.default_collate(samples)
