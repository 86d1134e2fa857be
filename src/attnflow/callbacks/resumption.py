"""Resume from a checkpoint with the options of the command."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, WeightAveraging

from attnflow.callbacks.plan import early_stoppings
from attnflow.models.checkpoint import KEY
from attnflow.training.best import carry_best
from attnflow.training.declared import datamodule_of, declared
from attnflow.training.fusing import place_steps
from attnflow.training.same_images import check_resumed_images

__all__ = ["Resumption"]

log = logging.getLogger(__name__)


class Resumption(Callback):
    """Makes a resumed training go on as its own config says, where Lightning would restore.

    Lightning brings weights, moments, counters and callbacks back as they were, and with them the
    options of the checkpoint's run. This callback puts the optimizer's options and the patience of
    early stopping in their place; leaves the schedule as this run's config makes it, at its present
    step; takes the weights that training was at where they are no longer averaged; and keeps the
    best checkpoint of all legs.
    List it before other callbacks.

    Args:
        path: of the checkpoint.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        check_resumed_images(checkpoint[KEY], datamodule_of(trainer), self.path)
        averages = any(isinstance(c, WeightAveraging) for c in declared(trainer).callbacks)
        if not averages and "current_model_state" in checkpoint:
            # Lightning has loaded the averaged weights, but the moments belong to these.
            pl_module.load_state_dict(checkpoint["current_model_state"])
        carry_best(checkpoint, self.path, trainer)
        keep_patience(checkpoint["callbacks"], trainer)
        # The schedule of this run's config is at the present step by itself, and may be of another
        # class, which could not load these states.
        checkpoint["lr_schedulers"] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # At this point it is built from this run's config, and not yet restored.
        self.options = [dict(group) for group in trainer.optimizers[0].param_groups]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        begin_next_epoch(trainer)
        groups = trainer.optimizers[0].param_groups
        for group, options in zip(groups, self.options, strict=True):
            group.update(options)
        place_steps(trainer.optimizers[0])


def keep_patience(states: dict[str, Any], trainer: Trainer) -> None:
    """Leave early stopping the patience of this run's config; what it has counted goes on."""
    for callback in early_stoppings(trainer):
        if callback.state_key in states:
            states[callback.state_key]["patience"] = callback.patience


def begin_next_epoch(trainer: Trainer) -> None:
    """Let a training that was resumed between two epochs begin the next one.

    With ``max_steps``, Lightning (2.6) takes an epoch's end for the middle of it, finds no batch
    left and so leaves out a whole epoch.
    """
    loop = trainer.fit_loop
    if loop.restarted_on_epoch_end:
        loop.epoch_progress.increment_completed()
        loop._restarting = loop.epoch_loop.restarting = False
        loop.reset_restart_stage()
