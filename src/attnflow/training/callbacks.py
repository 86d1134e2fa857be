"""Lightning callbacks of our own: speed, gradients and the guard against non-finite losses."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from attnflow.errors import AttnFlowError
from attnflow.training.diagnosis import first_non_finite

__all__ = ["GradientNorm", "ImagesPerSecond", "NonFiniteGuard"]


class ImagesPerSecond(Callback):
    """Logs how many images a second training takes in, over all ranks, without validation.

    One figure an epoch, so that reading the clock costs nothing.
    """

    def __init__(self) -> None:
        self.images = 0
        self.rate = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.images, self.started = 0, time.perf_counter()  # perhaps in the middle of an epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.images, self.started = 0, time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Mapping[str, Tensor],
        batch_idx: int,
    ) -> None:
        self.images += len(batch["image"]) * trainer.world_size
        if batch_idx + 1 == trainer.num_training_batches:  # before validation starts
            self.rate = self.images / (time.perf_counter() - self.started)
            pl_module.log("images_per_second", self.rate, prog_bar=True, batch_size=1)


class GradientNorm(Callback):
    """Logs ``train/grad_norm``: the Euclidean norm of all gradients together, before clipping.

    Only at the steps that are logged: another step would pay for a figure that nobody sees.
    """

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if (trainer.global_step + 1) % trainer.log_every_n_steps == 0:
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            pl_module.log("train/grad_norm", get_total_norm(gradients))


class NonFiniteGuard(Callback):
    """Stops training at a non-finite loss, before it reaches the weights, and says where.

    Raises:
        AttnFlowError: names the step, the transform whose output or log_det went non-finite
            first, and the last good checkpoint.
    """

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        if torch.isfinite(loss):
            return
        raise AttnFlowError(
            f"the loss is {loss.item()} at step {trainer.global_step}; "
            f"{self._where}; the last good checkpoint is {last_checkpoint(trainer)}."
        )

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Mapping[str, Tensor],
        batch_idx: int,
    ) -> None:
        self._trainer, self._module, self._batch = trainer, pl_module, batch

    @property
    def _where(self) -> str:
        noise = self._module.noise(self._batch, self._trainer.current_epoch)
        return first_non_finite(self._module.model, self._batch, noise)


def last_checkpoint(trainer: Trainer) -> str:
    """The path of the newest checkpoint that training wrote, or 'none'."""
    callbacks = trainer.checkpoint_callbacks
    for kind in ("last_model_path", "best_model_path"):
        for path in (getattr(callback, kind, "") for callback in callbacks):
            if path:
                return path
    return "none"
