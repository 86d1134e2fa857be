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

from attnflow.errors import ArgumentError, AttnFlowError
from attnflow.models.image_model import Batch
from attnflow.training.declared import declared, flow_module
from attnflow.training.diagnosis import where_non_finite

__all__ = ["NonFiniteGuard"]

log = logging.getLogger(__name__)


class NonFiniteGuard(Callback):
    """Skips a step whose loss or gradient is not finite, counts it, and stops after too many.

    ``train/skipped_steps`` is the count since training began. A skipped step moves neither the
    weights nor the optimizer's averages; schedules go on. The gradients of a loss that is not
    finite are made NaN, and DDP's own reduction takes them to every rank, so that all ranks skip
    the same steps without a further exchange.

    A fused optimizer is told to skip on the device, and on an accelerator the limit is looked at
    when Lightning logs. Any other optimizer needs an answer before it steps: one synchronisation a
    step.

    Args:
        limit: how many steps in a row may be skipped; 0 stops at the first.

    Raises:
        AttnFlowError: more steps than ``limit`` in a row; names the step, the transform or the
            gradient that went non-finite first, and the last good checkpoint.
    """

    def __init__(self, limit: int = 10) -> None:
        if limit < 0:
            raise ArgumentError("limit", "0 or more skipped steps", limit)
        self.limit = limit
        # Skipped steps in all, and the latest ones in a row.
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
        bad = ~torch.isfinite(flow_module(pl_module).gradient_norm())
        self.skipped = self.skipped + bad
        self.in_a_row = (self.in_a_row + bad) * bad
        if optimizer.defaults.get("fused"):
            # torch's stubs lack the attribute, by which its GradScaler too tells an optimizer.
            optimizer.found_inf = bad.float()  # pyright: ignore[reportAttributeAccessIssue]
            waits = pl_module.device.type != "cpu"
            if waits and trainer.global_step % declared(trainer).log_every_n_steps:
                return
        if bad:
            self._report(trainer, pl_module)
            pl_module.zero_grad(set_to_none=True)  # an optimizer passes by what has no gradient

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
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
            "training: expected a finite loss and gradient, got one that is not finite at step "
            f"{step}, the {in_a_row}. in a row (callbacks.non_finite.limit is {self.limit}); "
            f"{self._where(trainer, pl_module)}; the last good checkpoint is "
            f"{last_checkpoint(trainer)}."
        )

    def _where(self, trainer: Trainer, pl_module: LightningModule) -> str:
        batch, batch_idx = self._batch
        module = flow_module(pl_module)
        module.on_train_batch_start(batch, batch_idx)  # the same dropout again
        epoch = trainer.current_epoch
        drawn = module.noise(batch, epoch), module.dropped(batch, epoch)
        with trainer.precision_plugin.train_step_context():
            return where_non_finite(module.model, batch, *drawn)


def last_checkpoint(trainer: Trainer) -> str:
    """The path of the newest checkpoint that training wrote and that is there, or 'none'."""
    callbacks = trainer.checkpoint_callbacks
    for kind in ("last_model_path", "best_model_path"):
        for path in (getattr(callback, kind, "") for callback in callbacks):
            if path and Path(path).exists():
                return path
    return "none"
