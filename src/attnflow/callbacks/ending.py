"""The end of a training: its last step is validated, and validations due by then happen."""

from __future__ import annotations

import math

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

__all__ = ["LastStepValidation", "ends_here", "falls_due"]


def ends_here(trainer: Trainer) -> bool:
    """Whether training ends with the batch that it is in, or has just made.

    The reason may be its number of epochs or steps, or a request to stop, such as the
    trainer's ``max_time``.
    """
    epochs = trainer.current_epoch + trainer.is_last_batch  # done when this batch is
    may_stop = epochs >= (trainer.min_epochs or 0) and trainer.global_step >= (
        trainer.min_steps or 0
    )
    return (
        epochs == trainer.max_epochs
        or trainer.global_step == trainer.max_steps
        or (trainer.should_stop and may_stop)
    )


def falls_due(trainer: Trainer, every_n_epochs: int) -> bool:
    """Whether what happens every ``every_n_epochs`` epochs is due at this validation.

    It is due at the first validation at or after each multiple, and at that of the last step.
    """
    epoch = trainer.current_epoch + 1
    before = epoch - (trainer.check_val_every_n_epoch or 1)  # of the validation before
    if trainer.check_val_every_n_epoch is None and trainer.val_check_batch:
        batches = trainer.fit_loop.total_batch_idx + 1 - trainer.val_check_batch
        before = math.ceil(batches / trainer.num_training_batches)
    return ends_here(trainer) or epoch // every_n_epochs > before // every_n_epochs


class LastStepValidation(Callback):
    """Validates the last step, whatever ends training and whenever validation was next due.

    List it last: any other callback may be what ends training.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.turns = trainer.check_val_every_n_epoch, trainer.val_check_batch
        if trainer.is_last_batch:  # of an epoch that a resumed training had validated already
            trainer.check_val_every_n_epoch = trainer.val_check_batch = 1

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.check_val_every_n_epoch, trainer.val_check_batch = self.turns

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        if not ends_here(trainer):
            return
        if trainer.val_check_batch is None:  # validation goes by the clock, unless training stops
            trainer.should_stop = True
        trainer.check_val_every_n_epoch = trainer.val_check_batch = 1
