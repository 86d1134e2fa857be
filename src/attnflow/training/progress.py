"""The progress of a training, and the step at which it will end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lightning import Trainer

__all__ = ["Progress", "planned_steps", "whole_epochs"]


@dataclass(frozen=True)
class Progress:
    """The epoch, the batch and the step that a training has reached.

    Attributes:
        step: optimisation steps done.
        epoch: whole epochs done.
        batches: done of the epoch that has begun; 0 between two epochs.
    """

    step: int = 0
    epoch: int = 0
    batches: int = 0

    @classmethod
    def of_checkpoint(cls, checkpoint: Mapping) -> Progress:
        """Read what Lightning writes of its loops."""
        loops = checkpoint["loops"]["fit_loop"]
        begun = loops["epoch_progress"]["current"]["ready"]
        batches = loops["epoch_loop.batch_progress"]
        if batches["is_last_batch"]:
            return cls(checkpoint["global_step"], begun, 0)
        return cls(checkpoint["global_step"], begun - 1, batches["current"]["ready"])


def whole_epochs(trainer: Trainer) -> int:
    """The epochs that a training has made from their first batch to their last."""
    loop = trainer.fit_loop
    # Not what was processed: an epoch that training ends in counts there until it is loaded.
    begun = loop.epoch_progress.current.ready
    return begun if loop.epoch_loop.batch_progress.is_last_batch else max(begun - 1, 0)


def planned_steps(trainer: Trainer, progress: Progress) -> float:
    """The optimisation step that training ends at, as far as epochs and steps bound it.

    The steps that are done count as they were made, whatever a resumed training's batches and
    accumulation are; those to come count as the trainer will make them.

    Returns:
        A number of steps; infinity where neither ``max_epochs`` nor ``max_steps`` is a bound.
    """
    estimated = trainer.estimated_stepping_batches
    if trainer.max_epochs in (-1, None):
        return estimated
    window = trainer.accumulate_grad_batches
    per_epoch = math.ceil(trainer.num_training_batches / window)
    epochs_left = max(trainer.max_epochs - progress.epoch, 0)
    left = max(per_epoch * epochs_left - math.ceil(progress.batches / window), 0)
    planned = progress.step + left
    return planned if trainer.max_steps == -1 else min(planned, trainer.max_steps)
