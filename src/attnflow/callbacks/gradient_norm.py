"""The norm of a step's gradients."""

from __future__ import annotations

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch.optim import Optimizer

from attnflow.training.declared import flow_module

__all__ = ["GradientNorm"]


class GradientNorm(Callback):
    """Logs ``train/grad_norm``: the Euclidean norm of all gradients together, before clipping.

    It is computed at every step, as Lightning decides only afterwards which steps are logged.
    """

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        pl_module.log("train/grad_norm", flow_module(pl_module).gradient_norm())
