"""Sample quality during training and at its end, as a Lightning callback."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from attnflow.callbacks.ending import falls_due
from attnflow.data.samples import Samples
from attnflow.data.training_images import training_images
from attnflow.errors import AttnFlowError, check_choice, check_least
from attnflow.metrics.extractor import FeatureExtractor
from attnflow.metrics.files import on_rank_zero
from attnflow.metrics.images import batches, fetch, shuffled, to_extract
from attnflow.metrics.measures import KEEPING, NEIGHBOURS, Measures, real_distance
from attnflow.metrics.reference import Reference, reference_of
from attnflow.models.image_model import Batch
from attnflow.training.declared import datamodule_of, declared, flow_module
from attnflow.utils.distributed import rank

__all__ = ["ImageQuality"]

log = logging.getLogger(__name__)


class ImageQuality(Callback):
    """Compares features of samples with those of real images.

    Validation logs the Frechet distance, testing every measure; each under its extractor's
    names. List it before the weight averaging: Lightning calls callbacks in order, and the
    averaged weights are in place only until the averaging's own hook.

    A conditional model's samples have the conditions of the real images that they are compared
    with, every condition as often as the others.

    Samples are drawn in batches that go to the ranks in turn: exactly ``num_samples`` in all,
    the same ones whatever the batch size and the number of ranks.

    Args:
        extractor: of the features.
        cache_dir: where statistics of real images are kept, between runs.
        num_samples: at the test.
        num_samples_val: at validation; None for none.
        every_n_epochs: how often validation counts; that of the last step always does.
        batch_size: samples drawn, and images read, at once.
        measures: at the test; of "frechet", "kernel", "inception_score" and "precision_recall".
        subset_size, num_subsets: of the kernel distance; a subset has no more images than there
            are.
        max_kept: samples and real images whose features the kernel distance, and precision and
            recall, keep.
        val_split, test_split: whose images are compared with.
        seed: of the samples, the same at every epoch.

    Raises:
        AttnFlowError: too few samples for a measure, or an extractor that lacks it.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        cache_dir: str,
        num_samples: int = 50_000,
        num_samples_val: int | None = 2_048,
        every_n_epochs: int = 30,
        batch_size: int = 128,
        measures: Sequence[str] = ("frechet",),
        subset_size: int = 1_000,
        num_subsets: int = 100,
        max_kept: int = 10_000,
        val_split: str = "val",
        test_split: str = "test",
        seed: int = 0,
    ) -> None:
        self.extractor, self.cache_dir = extractor, Path(cache_dir)
        self.num_samples, self.num_samples_val = num_samples, num_samples_val
        self.every_n_epochs, self.batch_size = every_n_epochs, batch_size
        self.measures = tuple(measures)
        self.subset_size, self.num_subsets = subset_size, num_subsets
        self.max_kept = max_kept
        self.val_split, self.test_split, self.seed = val_split, test_split, seed
        self.loaded = False
        self.references: dict[tuple[str, int], Reference] = {}
        self._check_arguments()

    def _check_arguments(self) -> None:
        for name in ("every_n_epochs", "batch_size", "num_subsets"):
            check_least(name, getattr(self, name), 1)
        for measure in self.measures:
            check_choice("measures", measure, self.extractor.names)
        check_least("subset_size", self.subset_size, 2)
        check_least("num_samples", self.num_samples, 2)
        check_least("max_kept", self.max_kept, 2)
        if "precision_recall" in self.measures:
            check_least("num_samples", self.num_samples, NEIGHBOURS + 1)
            check_least("max_kept", self.max_kept, NEIGHBOURS + 1)
        if self.num_samples_val is not None:
            check_least("num_samples_val", self.num_samples_val, 2)
        for name in ("num_samples", "num_samples_val"):
            count, size = getattr(self, name), self.extractor.num_features
            if count is not None and count < size:
                rank_zero_warn(
                    f"metrics.{name} is {count}, fewer than the {size} features that are "
                    "compared: the Frechet distance is biased upwards, and comparable only "
                    "between runs with as many samples."
                )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Prepare data, weights and network, so that anything missing is told before training."""
        if self.loaded:
            return
        if declared(trainer).datamodule is None:
            raise AttnFlowError(
                "metrics: expected the trainer's datamodule, as in trainer.fit(module, "
                "datamodule), got None."
            )
        datamodule = datamodule_of(trainer)
        self._check_splits(trainer)
        on_rank_zero(trainer, lambda: self.extractor.prepare(datamodule, self.cache_dir))
        self.extractor.load(datamodule, self.cache_dir)
        self.loaded = True

    def _check_splits(self, trainer: Trainer) -> None:
        real = len(datamodule_of(trainer).dataset(self.test_split))
        fewest = min(real, self.num_samples, self.max_kept)
        if "kernel" in self.measures and fewest < self.subset_size:
            log.warning(
                "metrics.subset_size is %d instead of %d, as there are no more images of the %s "
                "split, samples (metrics.num_samples) or kept ones (metrics.max_kept).",
                fewest,
                self.subset_size,
                self.test_split,
            )
            self.subset_size = fewest
        if "precision_recall" in self.measures and real <= NEIGHBOURS:
            raise AttnFlowError(
                f"precision_recall: expected {NEIGHBOURS + 1} images or more in the "
                f"{self.test_split} split, got {real}."
            )
        fewest = min(self.num_samples, self.num_samples_val or self.num_samples)
        if fewest < trainer.world_size:
            raise AttnFlowError(
                f"metrics: expected one sample or more a rank, got {fewest} samples on "
                f"{trainer.world_size} ranks."
            )

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or self.num_samples_val is None:
            return
        if trainer.state.fn != "fit" or falls_due(trainer, self.every_n_epochs):
            split, count = self.val_split, self.num_samples_val
            figures = self.measure(trainer, pl_module, split, count, ("frechet",))
            log_figures(pl_module, "val", figures)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        split, count = self.test_split, self.num_samples
        figures = self.measure(trainer, pl_module, split, count, self.measures)
        if "frechet" in self.measures:
            figures |= self.floor(trainer, pl_module.device)
        log_figures(pl_module, "test", figures)

    @torch.no_grad()
    def floor(self, trainer: Trainer, device: torch.device) -> dict[str, float]:
        """The Frechet distance of the training images from the test images, by name.

        No model of the training images can be expected to come nearer. Empty where there are no
        training images, or where they are what samples are compared with.
        """
        name = f"{self.extractor.names['frechet'][0]}_floor"
        datamodule = datamodule_of(trainer)
        if self.test_split == "train" or training_images(datamodule, f"test/{name}") is None:
            return {}
        known = self.reference(trainer, "train", 0, device)
        tested = self.reference(trainer, self.test_split, self.kept(self.measures), device)
        return {name: real_distance(known, tested)}

    def kept(self, kinds: Sequence[str]) -> int:
        """How many images' features these measures keep."""
        return self.max_kept if set(kinds) & set(KEEPING) else 0

    def reference(self, trainer: Trainer, split: str, keep: int, device: torch.device) -> Reference:
        """The statistics of a split's images, with the features of ``keep`` of them."""
        if (split, keep) not in self.references:
            self.references[split, keep] = reference_of(
                datamodule_of(trainer),
                split,
                self.extractor.to(device),
                self.cache_dir,
                self.batch_size,
                keep,
                trainer.world_size,
                device,
            )
        return self.references[split, keep]

    @torch.no_grad()
    def measure(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        split: str,
        count: int,
        kinds: Sequence[str],
    ) -> dict[str, float]:
        """Figures of ``count`` new samples against the images of ``split``, by name."""
        device = pl_module.device
        extractor = self.extractor.to(device)
        measures = Measures(
            kinds,
            extractor,
            self.reference(trainer, split, self.kept(kinds), device),
            trainer.world_size,
            self.subset_size,
            self.num_subsets,
            self.max_kept,
            device,
        )
        for start, images in self.samples(trainer, pl_module, split, count):
            measures.update(extractor(to_extract(images, datamodule_of(trainer).spec)), start)
        return measures.compute(self.seed)

    def samples(
        self, trainer: Trainer, pl_module: LightningModule, split: str, count: int
    ) -> Iterator[tuple[int, Tensor]]:
        """This rank's share of ``count`` samples, in batches.

        Yields:
            The number of the batch's first sample, and its integer images (B, C, H, W).
        """
        model, device = flow_module(pl_module).model, pl_module.device
        dataset = datamodule_of(trainer).dataset(split)
        order = shuffled(len(dataset), self.seed)
        size = min(self.batch_size, count // trainer.world_size)
        for turn, numbers in enumerate(batches(range(count), size)):
            if turn % trainer.world_size != rank():
                continue
            conditions = None
            if model.conditioning is not None:
                rows = [order[number % len(order)] for number in numbers]
                conditions = conditions_of(dataset, rows, device)
            generator = torch.Generator(device).manual_seed(self.seed)
            images = model.sample(len(numbers), conditions, generator=generator, numbers=numbers)
            yield numbers[0], images


def conditions_of(dataset: Samples, rows: Sequence[int], device: torch.device) -> Batch:
    """Return the labels or conditions of the given rows, without the images."""
    batch = fetch(dataset, rows)
    return {name: value.to(device) for name, value in batch.items() if name != "image"}


def log_figures(pl_module: LightningModule, stage: str, figures: dict[str, float]) -> None:
    """Log figures to the loggers and to the trainer's ``callback_metrics``."""
    for name, value in figures.items():
        # All ranks hold the same value; saying sync_dist keeps Lightning from warning.
        pl_module.log(f"{stage}/{name}", value, batch_size=1, sync_dist=True)
