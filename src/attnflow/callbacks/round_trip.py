"""The error with which the flow inverts itself during training."""

from __future__ import annotations

import logging

from lightning import LightningModule, Trainer

from attnflow.callbacks.first_batch import FirstBatchMonitor
from attnflow.errors import ArgumentError
from attnflow.metrics.soundness import round_trip_errors
from attnflow.models.image_model import Batch
from attnflow.training.declared import flow_module
from attnflow.utils.noise import NO_EPOCH

__all__ = ["RoundTripMonitor"]

log = logging.getLogger(__name__)


class RoundTripMonitor(FirstBatchMonitor):
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
        super().__init__(num_images)
        self.limit = limit

    def look(self, trainer: Trainer, pl_module: LightningModule, batch: Batch) -> None:
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
