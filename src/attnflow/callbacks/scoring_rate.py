"""The rate at which test images are scored."""

from __future__ import annotations

import time

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback


class ScoringRate(Callback):
    """Times the bits/dim of the test images, without what is measured after them.

    Attributes:
        seconds: that testing took. List it first, before other callbacks' own measurements.
    """

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.perf_counter()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self.seconds = time.perf_counter() - self.started
