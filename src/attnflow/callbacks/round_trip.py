"""The error with which the flow inverts itself during training."""

from __future__ import annotations

import logging

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from attnflow.errors import ArgumentError, check_least
from attnflow.metrics.soundness import round_trip_errors
from attnflow.models.image_model import Batch
from attnflow.training.declared import flow_module
from attnflow.utils.noise import NO_EPOCH

__all__ = ["RoundTripMonitor"]

log = logging.getLogger(__name__)


class RoundTripMonitor(Callback):
    """Logs how exactly the flow inverts itself: ``val/round_trip_error``, each validation.

    The largest ``|decode(encode(y)) - y|`` of the first validation batch over all ranks, y the
    dequantized images in [0, 1), computed in float32 as samples are. A flow can lose its
    numerical inverse while its bits/dim still look fine; samples, and gradients of
    ``model.memory=reversible``, then go wrong.

    Args:
        limit: an error above it is warned of; a grey level of 8 bits is 0.004 wide.
        num_images: of the batch that are tried.
    """

    def __init__(self, limit: float = 1e-3, num_images: int = 32) -> None:
        if not limit > 0:
            raise ArgumentError("limit", "an error above 0", limit)
        check_least("num_images", num_images, 1)
        self.limit, self.num_images = limit, num_images

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx:
            return
        batch = {name: rows[: self.num_images] for name, rows in batch.items()}
        module = flow_module(pl_module)
        noise = module.noise(batch, NO_EPOCH)
        error = round_trip_errors(module.model, batch, noise).max()
        pl_module.log("val/round_trip_error", error, batch_size=1, sync_dist=True, reduce_fx="max")
        if error > self.limit:
            log.warning(
                "the flow is inverted up to an error of %.2g only (callbacks.round_trip.limit is "
                "%.2g) at step %d: samples and reversible training may be wrong",
                error,
                self.limit,
                trainer.global_step,
            )
