"""Looks at whether a checkpoint is tested on the images that were kept from its training."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from attnflow.training.declared import datamodule_of
from attnflow.training.same_images import changed_test_images

__all__ = ["HeldOutImages"]

log = logging.getLogger(__name__)


class HeldOutImages(Callback):
    """Says so where test images are not those of a training, before the test.

    It raises :class:`AttnFlowError` where they may have been trained on, as where files have come
    to a folder that is cut into splits.

    Args:
        held: what the checkpoint tells of its run.
        path: of the checkpoint.
    """

    def __init__(self, held: Mapping, path: object) -> None:
        self.held, self.path = held, path

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        said = changed_test_images(self.held, datamodule_of(trainer), self.path)
        if said is not None and trainer.is_global_zero:
            log.warning("%s", said)
