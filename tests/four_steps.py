"""A training of four steps by Lightning alone, without the commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning import Trainer
from torch.optim import Optimizer

from attnflow import Glow
from attnflow.data import DigitsDataModule
from attnflow.models.dequantization import UniformDequantizer
from attnflow.models.image_model import ImageModel
from attnflow.training.module import FlowModule


def train_four_steps(optimizer: Callable[..., Optimizer], **options: Any) -> FlowModule:
    """A small flow of digits after four steps.

    Args:
        optimizer: called with the parameters.
        options: of Lightning's trainer.
    """
    options = {"logger": False, **options}
    trainer = Trainer(
        accelerator="cpu",
        max_steps=4,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
        **options,
    )
    flow = Glow((1, 8, 8), levels=1, steps=2)
    module = FlowModule(ImageModel(flow, UniformDequantizer(17, (1, 8, 8))), optimizer)
    trainer.fit(module, DigitsDataModule())
    return module
