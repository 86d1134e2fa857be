"""Lightning callbacks of our own: speed, gradients, and how often figures are logged."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

__all__ = ["GradientNorm", "ImagesPerSecond", "LearningRate", "LoggedSteps", "gradient_norm"]


class ImagesPerSecond(Callback):
    """Logs how many images a second training takes in, over all ranks, without validation.

    One rate an epoch, so that reading the clock costs nothing.

    Attributes:
        images: of the whole run, all its legs.
        seconds: that training took for them.
    """

    def __init__(self) -> None:
        self.images, self.seconds = 0, 0.0
        self.epoch_images, self.epoch_seconds = 0, 0.0
        self.since: float | None = None  # None while the clock stands

    @property
    def rate(self) -> float | None:
        """Images a second of the whole run; None where nothing was trained."""
        return self.images / self.seconds if self.images else None

    def start(self) -> None:
        """Let the clock run."""
        self.since = time.perf_counter()

    def stop(self) -> None:
        """Halt the clock and add up what it shows."""
        if self.since is not None:
            passed = time.perf_counter() - self.since
            self.seconds, self.epoch_seconds = self.seconds + passed, self.epoch_seconds + passed
            self.since = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.start()  # perhaps in the middle of an epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epoch_images, self.epoch_seconds = 0, 0.0
        self.start()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Mapping[str, Tensor],
        batch_idx: int,
    ) -> None:
        number = len(batch["image"]) * trainer.world_size
        self.images, self.epoch_images = self.images + number, self.epoch_images + number

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.stop()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.start()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.stop()
        if self.epoch_images:
            rate = self.epoch_images / self.epoch_seconds
            pl_module.log("images_per_second", rate, prog_bar=True, batch_size=1)

    def state_dict(self) -> dict[str, float]:
        running = 0.0 if self.since is None else time.perf_counter() - self.since
        return {"images": self.images, "seconds": self.seconds + running}

    def load_state_dict(self, state_dict: Mapping[str, float]) -> None:
        self.images, self.seconds = int(state_dict["images"]), state_dict["seconds"]


class GradientNorm(Callback):
    """Logs ``train/grad_norm``: the Euclidean norm of all gradients together, before clipping.

    Of every step, as which of them are logged may turn out after it.
    """

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        pl_module.log("train/grad_norm", gradient_norm(pl_module))


class LearningRate(LearningRateMonitor):
    """Lightning's monitor of the rate, once a step also where several batches make one."""

    def on_train_batch_start(self, trainer: Trainer, *arguments: Any, **options: Any) -> None:
        if trainer.fit_loop.batch_idx % trainer.accumulate_grad_batches == 0:
            super().on_train_batch_start(trainer, *arguments, **options)


class LoggedSteps(Callback):
    """Sees to the steps at which Lightning logs figures of training.

    At least one an epoch: where it has fewer steps than ``log_every_n_steps``, every so many as it
    has. And they are counted as optimization steps are, after a resumption too.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self.every_n_steps = trainer.log_every_n_steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batches = trainer.fit_loop.epoch_loop.batch_progress.current.ready  # before a resumption
        self._fit_epoch(trainer, math.ceil(batches / trainer.accumulate_grad_batches))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._fit_epoch(trainer, 0)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        # A checkpoint that was written after validation within an epoch is one behind.
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step

    def _fit_epoch(self, trainer: Trainer, steps_done: int) -> None:
        """Log as often as the epoch that has had ``steps_done`` steps needs it."""
        steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        if trainer.max_steps != -1:
            steps = min(steps, trainer.max_steps - trainer.global_step + steps_done)
        trainer.log_every_n_steps = max(1, min(self.every_n_steps, steps))


def gradient_norm(module: nn.Module) -> Tensor:
    """The Euclidean norm of all gradients of a module's parameters together: a scalar."""
    return get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
