"""Lightning callbacks that watch the numbers: non-finite steps, spikes, and the round trip.

None of them waits for an accelerator in every step: flags and counts stay on the device, and are
read when Lightning logs (every ``trainer.log_every_n_steps``), but where NonFiniteGuard says so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer

from attnflow.distributed import all_reduce_sum
from attnflow.errors import AttnFlowError
from attnflow.evaluation.soundness import round_trip_errors
from attnflow.image_model import Batch
from attnflow.noise import NO_EPOCH
from attnflow.training.callbacks import gradient_norm
from attnflow.training.diagnosis import where_non_finite

__all__ = ["NonFiniteGuard", "RoundTripMonitor", "SpikeDetection"]

log = logging.getLogger(__name__)


class NonFiniteGuard(Callback):
    """Skips a step whose loss or gradient is not finite, counts it, and stops after too many.

    ``train/skipped_steps`` is the count since training began. A skipped step moves neither the
    weights nor the optimizer's averages; schedules go on. The gradients of a loss that is not
    finite are made NaN, and DDP's own reduction takes them to every rank, so that all ranks skip
    the same steps without a further exchange.

    A fused optimizer is told to skip on the device, and the limit is looked at when Lightning
    logs. Any other optimizer needs an answer before it steps: one synchronisation a step.

    Args:
        limit: how many steps in a row may be skipped; 0 stops at the first.

    Raises:
        AttnFlowError: more steps than ``limit`` in a row; names the step, the transform or the
            gradient that went non-finite first, and the last good checkpoint.
    """

    def __init__(self, limit: int = 10) -> None:
        if limit < 0:
            raise AttnFlowError(
                f"callbacks.non_finite.limit is {limit}; 0 or more skipped steps are accepted."
            )
        self.limit = limit
        # In all, and in a row up to now.
        self.skipped, self.in_a_row = torch.zeros(2, dtype=torch.int64)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.skipped, self.in_a_row = (
            count.to(pl_module.device) for count in (self.skipped, self.in_a_row)
        )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        self._batch = (batch, batch_idx)

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        finite = torch.isfinite(loss.detach())
        loss.register_hook(lambda grad: torch.where(finite, grad, torch.nan))

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        bad = ~torch.isfinite(gradient_norm(pl_module))
        self.skipped = self.skipped + bad
        self.in_a_row = (self.in_a_row + bad) * bad
        if optimizer.defaults.get("fused"):
            optimizer.found_inf = bad.float()
            if trainer.global_step % trainer.log_every_n_steps:
                return
        if bad:
            self._report(trainer, pl_module)
            pl_module.zero_grad(set_to_none=True)  # an optimizer passes by what has no gradient

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Mapping[str, Tensor],
        batch: Batch,
        batch_idx: int,
    ) -> None:
        pl_module.log("train/skipped_steps", self.skipped.float(), batch_size=1)

    def state_dict(self) -> dict[str, int]:
        return {"skipped": int(self.skipped)}

    def load_state_dict(self, state_dict: Mapping[str, int]) -> None:
        self.skipped = torch.tensor(state_dict["skipped"])

    def _report(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn of a skipped step; after too many, raise."""
        in_a_row, step = int(self.in_a_row), trainer.global_step
        if in_a_row <= self.limit:
            log.warning(
                "skipped step %d, whose loss or gradient is not finite (%d in a row, %d in all)",
                step,
                in_a_row,
                int(self.skipped),
            )
            return
        raise AttnFlowError(
            f"the loss or its gradient is not finite at step {step}, the {in_a_row}. in a row "
            f"(callbacks.non_finite.limit is {self.limit}); {self._where(trainer, pl_module)}; "
            f"the last good checkpoint is {last_checkpoint(trainer)}."
        )

    def _where(self, trainer: Trainer, pl_module: LightningModule) -> str:
        batch, batch_idx = self._batch
        pl_module.on_train_batch_start(batch, batch_idx)  # the same dropout again
        noise = pl_module.noise(batch, trainer.current_epoch)
        with trainer.precision_plugin.train_step_context():
            return where_non_finite(pl_module.model, batch, noise)


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
        if deviations <= 0 or window < 2:
            raise AttnFlowError(
                f"callbacks.spikes has deviations {deviations} and window {window}; deviations "
                "above 0 and a window of 2 or more steps are accepted."
            )
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
        outputs: Mapping[str, Tensor],
        batch: Batch,
        batch_idx: int,
    ) -> None:
        loss = outputs["loss"].detach() * trainer.accumulate_grad_batches
        self.state = self.updated(all_reduce_sum(loss) / trainer.world_size)
        pl_module.log("train/spikes", self.state[1], batch_size=1)
        if trainer.global_step % trainer.log_every_n_steps == 0:
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
        # A loss that is not finite is no spike but NonFiniteGuard's.
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


class RoundTripMonitor(Callback):
    """Logs how exactly the flow inverts itself: ``val/round_trip_error``, each validation.

    The largest ``|decode(encode(y)) - y|`` of the first validation batch over all ranks, y the
    dequantized images in [0, 1), computed in float32 as samples are. A flow can lose its
    numerical inverse while its bits/dim still look fine; samples, and gradients of
    ``model.memory=reversible``, then go wrong.

    Args:
        limit: an error above it is warned of; a grey level of 8 bits is 0.004 wide.
        num_images: of the batch that are tried.
    """

    def __init__(self, limit: float = 1e-3, num_images: int = 32) -> None:
        if not limit > 0 or num_images < 1:
            raise AttnFlowError(
                f"callbacks.round_trip has limit {limit} and num_images {num_images}; a limit "
                "above 0 and 1 or more images are accepted."
            )
        self.limit, self.num_images = limit, num_images

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx:
            return
        batch = {name: rows[: self.num_images] for name, rows in batch.items()}
        noise = pl_module.noise(batch, NO_EPOCH)
        error = round_trip_errors(pl_module.model, batch, noise).max()
        pl_module.log("val/round_trip_error", error, batch_size=1, sync_dist=True, reduce_fx="max")
        if error > self.limit:
            log.warning(
                "the flow is inverted up to an error of %.2g only (callbacks.round_trip.limit is "
                "%.2g) at step %d: samples and reversible training may be wrong",
                error,
                self.limit,
                trainer.global_step,
            )


def last_checkpoint(trainer: Trainer) -> str:
    """The path of the newest checkpoint that training wrote and that is there, or 'none'."""
    callbacks = trainer.checkpoint_callbacks
    for kind in ("last_model_path", "best_model_path"):
        for path in (getattr(callback, kind, "") for callback in callbacks):
            if path and Path(path).exists():
                return path
    return "none"
