"""The steps at which training is logged."""

from __future__ import annotations

import math

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from attnflow.training.declared import declared

__all__ = ["LoggedSteps"]


class LoggedSteps(Callback):
    """Chooses the steps at which Lightning logs figures of training.

    At least one an epoch: where it has fewer steps than ``log_every_n_steps``, every so many as it
    has. And they are counted as optimization steps are, after a resumption too.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self.every_n_steps = declared(trainer).log_every_n_steps

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
        declared(trainer).log_every_n_steps = max(1, min(self.every_n_steps, steps))
