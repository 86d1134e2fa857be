"""Compilation of the flow before it first runs."""

from __future__ import annotations

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from attnflow.flows.base import Flow
from attnflow.flows.compilation import compile_flow
from attnflow.training.declared import flow_module


class CompiledFlow(Callback):
    """Compiles the flow of the module that is trained or tested, once."""

    def __init__(self) -> None:
        self.flow: Flow | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        flow = flow_module(pl_module).model.flow
        if self.flow is not flow:
            self.flow = flow
            compile_flow(flow)
