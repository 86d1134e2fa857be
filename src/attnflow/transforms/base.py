"""The contract of every invertible layer, and the composition of several."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from attnflow.context import Context

__all__ = [
    "Composition",
    "Transform",
    "full_precision",
    "log_det_dtype",
    "sum_per_sample",
    "zero_log_det",
]


class Transform(nn.Module):
    """An invertible map ``z = f(x; context)`` of (B, C, H, W) tensors.

    Subclasses define :meth:`forward` and :meth:`inverse`; those that start from
    statistics of the data also define :meth:`initialize`. They hold no other state
    than parameters and buffers, and no batch size, device or data-dependent branch.
    """

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        """Data to latent.

        Args:
            x: (B, C, H, W).
            context: the condition, or None.

        Returns:
            z, (B, C, H, W), and log|det dz/dx|, (B,), in nats, float32 or wider.
        """
        raise NotImplementedError

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        """Latent to data: x such that ``forward(x)[0] == z``."""
        raise NotImplementedError

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Set data-dependent parameters from one batch; returns ``forward(x)[0]``.

        Called once, before the first optimisation step. Statistics are reduced over
        all ranks, so that every rank ends with the same parameters.
        """
        return self(x, context)[0]


class Composition(Transform):
    """``z = f_n(... f_2(f_1(x)))``; the log-determinants add up.

    Args:
        transforms: by name, in forward order.
    """

    def __init__(self, transforms: Mapping[str, Transform]) -> None:
        super().__init__()
        for name, transform in transforms.items():
            self.add_module(name, transform)

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        total = zero_log_det(x)
        for transform in self.parts():
            x, log_det = transform(x, context)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        for transform in reversed(self.parts()):
            z = transform.inverse(z, context)
        return z

    def parts(self) -> list[Transform]:
        """The transforms, in forward order."""
        return [part for part in self.children() if isinstance(part, Transform)]

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Context | None = None) -> Tensor:
        for transform in self.parts():
            x = transform.initialize(x, context)
        return x


def full_precision(x: Tensor) -> AbstractContextManager:
    """A context manager in which determinants and solves escape autocast's half precision."""
    if not torch.amp.is_autocast_available(x.device.type):  # the meta device
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


def log_det_dtype(x: Tensor) -> torch.dtype:
    """float32, or x's own type where that is wider."""
    return torch.promote_types(x.dtype, torch.float32)


def zero_log_det(x: Tensor) -> Tensor:
    """The log-determinant of a map that keeps volume: zeros of shape (B,)."""
    return x.new_zeros(len(x), dtype=log_det_dtype(x))


def sum_per_sample(values: Tensor) -> Tensor:
    """Sum of all but the batch dimension, in float32 or wider: shape (B,)."""
    return values.flatten(1).sum(1, dtype=log_det_dtype(values))
