"""How many scales are at their bound during training."""

from __future__ import annotations

from lightning import LightningModule, Trainer

from attnflow.callbacks.first_batch import FirstBatchMonitor
from attnflow.metrics.scale_bounds import share_at_bound
from attnflow.models.image_model import Batch
from attnflow.training.declared import flow_module
from attnflow.utils.noise import NO_EPOCH

__all__ = ["ScaleBounds"]


class ScaleBounds(FirstBatchMonitor):
    """Logs ``val/scale_at_bound``, the share of values whose scale is at its bound.

    Of the transform where most are, on the first validation batch over all ranks. Bounded scales
    keep a flow stable, but N couplings of scales up to 2 widen a dimension by 2^(N/2) at most:
    near 1, more steps or a larger bound lower the bits/dim, and more training does not.

    Args:
        num_images: of the batch that are looked at.
    """

    def look(self, trainer: Trainer, pl_module: LightningModule, batch: Batch) -> None:
        module = flow_module(pl_module)
        share = share_at_bound(module.model, batch, module.noise(batch, NO_EPOCH))
        if share is not None:
            pl_module.log("val/scale_at_bound", share, batch_size=1, sync_dist=True)
