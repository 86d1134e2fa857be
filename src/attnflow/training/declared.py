"""Lightning's module, trainer and data, by the types that they have in this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from attnflow.data.base import ImageDataModule

if TYPE_CHECKING:  # the module needs this file too
    from attnflow.training.module import FlowModule

__all__ = ["DeclaredTrainer", "datamodule_of", "declared", "flow_module"]


class DeclaredTrainer(Trainer):
    """Lightning's Trainer, with the attributes that its connectors set."""

    callbacks: list[Callback]
    datamodule: LightningDataModule | None
    fast_dev_run: bool | int
    log_every_n_steps: int


def declared(trainer: Trainer) -> DeclaredTrainer:
    """The trainer itself, by the type that says more of it."""
    return cast(DeclaredTrainer, trainer)


def datamodule_of(trainer: Trainer) -> ImageDataModule:
    """The data of a trainer that was given some."""
    return cast(ImageDataModule, declared(trainer).datamodule)


def flow_module(pl_module: LightningModule) -> FlowModule:
    """The module that a callback is given, by its own type."""
    return cast("FlowModule", pl_module)
