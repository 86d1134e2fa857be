"""Sudden jumps of the loss."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import cast

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from attnflow.errors import ArgumentError, check_least
from attnflow.models.image_model import Batch
from attnflow.training.declared import declared
from attnflow.utils.distributed import all_reduce_sum

__all__ = ["SpikeDetection"]

log = logging.getLogger(__name__)


class SpikeDetection(Callback):
    """Warns of steps whose bits/dim lie far above those before them, and counts them.

    A spike lies more than ``deviations`` standard deviations above the mean, both running
    averages of the loss over all ranks. It moves these averages no further than the threshold
    itself would. ``train/spikes`` is the count.

    (Lightning's callback of this name stops training at the first spike, waits for the device at
    every step and, in 2.6, cannot be restored from a checkpoint.)

    Args:
        deviations: how many make a spike.
        window: steps that the averages reach back over; none of the first ``window`` is a spike.
    """

    def __init__(self, deviations: float = 6.0, window: int = 50) -> None:
        if not deviations > 0:
            raise ArgumentError("deviations", "a number above 0", deviations)
        check_least("window", window, 2)
        self.deviations, self.window = deviations, window
        # Steps seen, spikes, mean, variance, and the newest spike's loss and the mean before it.
        self.state = torch.zeros(6)
        self._warned = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.state = self.state.to(pl_module.device)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        loss = cast(Mapping[str, Tensor], outputs)["loss"].detach()
        loss = loss * trainer.accumulate_grad_batches
        self.state = self.updated(all_reduce_sum(loss) / trainer.world_size)
        pl_module.log("train/spikes", self.state[1], batch_size=1)
        if trainer.global_step % declared(trainer).log_every_n_steps == 0:
            self._warn(trainer.global_step)

    def updated(self, loss: Tensor) -> Tensor:
        """The state after a step of this loss, without a branch."""
        seen, spikes, mean, variance, *newest = self.state
        threshold = mean + self.deviations * variance.sqrt()
        spike = (seen >= self.window) & (loss > threshold)
        # The first steps are averaged evenly.
        rate = torch.clamp(1 / (seen + 1), min=1 / self.window)
        moved = torch.where(spike, threshold, loss) - mean
        after = [
            seen + 1,
            spikes + spike,
            mean + rate * moved,
            (1 - rate) * (variance + rate * moved.square()),
            torch.where(spike, loss, newest[0]),
            torch.where(spike, mean, newest[1]),
        ]
        # A loss that is not finite is no spike; NonFiniteGuard handles it.
        return torch.where(torch.isfinite(loss), torch.stack(after), self.state)

    def state_dict(self) -> dict[str, list[float]]:
        return {"state": self.state.tolist()}

    def load_state_dict(self, state_dict: Mapping[str, list[float]]) -> None:
        self.state = torch.tensor(state_dict["state"])
        self._warned = float(self.state[1])

    def _warn(self, step: int) -> None:
        _, spikes, _, _, loss, mean = self.state.tolist()
        if spikes > self._warned:
            log.warning(
                "%d spikes of bits/dim up to step %d: the newest has %.3f, where the mean was %.3f",
                spikes - self._warned,
                step,
                loss,
                mean,
            )
        self._warned = spikes
