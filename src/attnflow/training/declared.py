"""A trainer's attributes that Lightning sets from outside, unknown to a type checker."""

from __future__ import annotations

from typing import cast

from lightning import LightningDataModule, Trainer
from lightning.pytorch.callbacks import Callback

from attnflow.data.base import ImageDataModule

__all__ = ["DeclaredTrainer", "datamodule_of", "declared"]


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
