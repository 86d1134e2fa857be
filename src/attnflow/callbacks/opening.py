"""Open loggers and records at a training's first step, after everything has been checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, WandbLogger

from attnflow.loggers.csv_history import carry_history
from attnflow.models.build import with_references
from attnflow.runs.hydra_records import adopt_records
from attnflow.runs.provenance import write_environment
from attnflow.training.resume import Resumed
from attnflow.utils.decoration import decoration

__all__ = ["Opening"]


class Opening(Callback):
    """Opens a run's loggers and its records when training begins.

    Lightning would open loggers first and check afterwards, so that a start that is refused would
    have changed the files of the run that it was to go on with. List it before other callbacks.

    Args:
        run_dir: the run's folder.
        hyperparameters: what loggers are told of the run.
        resumed: what training goes on with, or None.
    """

    def __init__(
        self, run_dir: Path, hyperparameters: Mapping[str, Any], resumed: Resumed | None
    ) -> None:
        self.run_dir, self.hyperparameters, self.resumed = run_dir, hyperparameters, resumed
        self.loggers: list[Logger] = []
        self.opened = False

    def hold_loggers(self, trainer: Trainer) -> None:
        """Withhold a trainer's loggers until training begins."""
        self.loggers, trainer.loggers = trainer.loggers, []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.open(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.opened and self.resumed:
            self.open(trainer)
            self.resumed.tell_of_no_step()

    def open(self, trainer: Trainer) -> None:
        """Give the trainer its loggers, and write what a run has from the beginning; once."""
        if self.opened:
            return
        self.opened = True
        if trainer.is_global_zero:
            with decoration("the run's options"):
                adopt_records(self.run_dir)
            with decoration("environment.json"):
                write_environment(self.run_dir)
        if self.resumed:
            carry_history(self.loggers, self.resumed.path, self.resumed.progress.step)
            self.resumed.tell()
        # W&B's first: it wants to begin before TensorBoard's writer does.
        for logger in sorted(self.loggers, key=lambda one: not isinstance(one, WandbLogger)):
            logger.log_hyperparams(with_references(self.hyperparameters))
        trainer.loggers = self.loggers
