"""The norm of a step's gradients."""

from __future__ import annotations

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

__all__ = ["GradientNorm", "gradient_norm"]


class GradientNorm(Callback):
    """Logs ``train/grad_norm``: the Euclidean norm of all gradients together, before clipping.

    It is computed at every step, as Lightning decides only afterwards which steps are logged.
    """

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        pl_module.log("train/grad_norm", gradient_norm(pl_module))


def gradient_norm(module: nn.Module) -> Tensor:
    """The Euclidean norm of all gradients of a module's parameters together: a scalar."""
    return get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
