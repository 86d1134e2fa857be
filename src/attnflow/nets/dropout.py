"""Dropout whose masks do not depend on how many ranks share a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnflow.utils.distributed import rank, world_size

__all__ = ["SharedDropout"]


class SharedDropout(nn.Dropout):
    """``torch.nn.Dropout``, whose ranks draw the whole batch's mask and keep their own rows.

    Row j of rank r is row ``r + R j`` of the global batch, as
    :class:`~attnflow.data.order.EpochSampler` deals them out. With the same generator state on
    all R ranks, a sample is then treated the same whatever R is.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, ...) to the same shape."""
        ranks = world_size()
        if ranks == 1 or not self.training:
            return super().forward(input)
        # The mask has the memory format of the input: it is the order that random numbers come in.
        mask = super().forward(torch.cat([torch.ones_like(input)] * ranks))
        return input * mask[rank() :: ranks]
