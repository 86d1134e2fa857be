"""Compilation of the flow before it first runs."""

from __future__ import annotations

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from attnflow.flows.base import Flow
from attnflow.flows.compilation import compile_flow


class CompiledFlow(Callback):
    """Compiles the flow of the module that is trained or tested, once."""

    def __init__(self) -> None:
        self.flow: Flow | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.flow is not pl_module.model.flow:
            self.flow = pl_module.model.flow
            compile_flow(self.flow)
