"""Lightning callbacks of our own: speed and gradients."""

from __future__ import annotations

import time
from collections.abc import Mapping

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

__all__ = ["GradientNorm", "ImagesPerSecond", "gradient_norm"]


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
            pl_module.log("train/grad_norm", gradient_norm(pl_module))


def gradient_norm(module: nn.Module) -> Tensor:
    """The Euclidean norm of all gradients of a module's parameters together: a scalar."""
    return get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
