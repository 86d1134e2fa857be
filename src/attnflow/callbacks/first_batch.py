"""The base of monitors that look at a few images of each validation."""

from __future__ import annotations

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from attnflow.errors import check_least
from attnflow.models.image_model import Batch

__all__ = ["FirstBatchMonitor"]


class FirstBatchMonitor(Callback):
    """Calls :meth:`look` with the first images of each validation's first batch.

    Args:
        num_images: of the batch that are looked at.
    """

    def __init__(self, num_images: int = 32) -> None:
        check_least("num_images", num_images, 1)
        self.num_images = num_images

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not batch_idx:
            first = {name: rows[: self.num_images] for name, rows in batch.items()}
            self.look(trainer, pl_module, first)

    def look(self, trainer: Trainer, pl_module: LightningModule, batch: Batch) -> None:
        """Measure something on these images, and log it."""
        raise NotImplementedError
