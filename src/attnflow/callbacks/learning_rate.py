"""The learning rate of every step."""

from __future__ import annotations

from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import LearningRateMonitor

__all__ = ["LearningRate"]


class LearningRate(LearningRateMonitor):
    """Logs the learning rate once a step, also where several batches make one step."""

    def on_train_batch_start(self, trainer: Trainer, *arguments: Any, **options: Any) -> None:
        if trainer.fit_loop.batch_idx % trainer.accumulate_grad_batches == 0:
            super().on_train_batch_start(trainer, *arguments, **options)
