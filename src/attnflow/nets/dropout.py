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
        if not self.training or not self.p:
            return input
        ranks = world_size()
        # Uniform numbers take half the time of Bernoulli's. They have the memory format of the
        # input, which is the order that they are drawn in.
        drawn = torch.rand_like(torch.cat([input] * ranks) if ranks > 1 else input)
        # In place and of floats, which no processor needs to turn from truth values.
        kept = drawn[rank() :: ranks].ge_(self.p)
        return input * kept.div_(1 - self.p)
