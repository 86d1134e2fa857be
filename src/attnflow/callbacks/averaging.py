"""Exponential averaging of the weights, with a warm-up that suits short trainings too."""

from __future__ import annotations

from collections.abc import Callable

import torch
from lightning.pytorch.callbacks import WeightAveraging

# Underscored, yet the only way to change all weights at once; torch.optim's averages use it.
from torch import Tensor, _foreach_lerp_  # pyright: ignore[reportPrivateImportUsage]

from attnflow.errors import ArgumentError
from attnflow.utils.devices import why_absent

__all__ = ["ExponentialAveraging", "exponential_average"]

# update(averaged weights, current weights, number of updates before this one), in place
Update = Callable[[list[Tensor], list[Tensor], Tensor], None]


def exponential_average(decay: float) -> Update:
    """``average = d average + (1 - d) weights`` with ``d = min(decay, (1 + n) / (10 + n))``.

    n counts the updates so far. With a constant decay of 0.99 the initial weights would still
    make up a fifth of the average after 150 steps, and an average of weights that lie far
    apart is no model; the ramp forgets them within tens of steps.

    Raises:
        AttnFlowError: a decay outside [0, 1).
    """
    if not 0 <= decay < 1:
        raise ArgumentError("decay", "0 or more and below 1", decay)

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        updates = int(count)
        _foreach_lerp_(averaged, current, 1 - min(decay, (1 + updates) / (10 + updates)))

    return update


class ExponentialAveraging(WeightAveraging):
    """Lightning's weight averaging with :func:`exponential_average`.

    Validation, testing and checkpoints use the averaged weights; buffers (signs, permutations)
    are copied, not averaged.

    Args:
        decay: d at its highest, 0 or more and below 1.
        device: where the average is kept; the model's own by default.

    Raises:
        AttnFlowError: another decay, or no such device here.
    """

    def __init__(self, decay: float = 0.99, device: str | None = None) -> None:
        if device is not None and why_absent(device):
            expected = "null or a device of this machine, such as cpu"
            raise ArgumentError("device", expected, device)
        super().__init__(device, use_buffers=False, multi_avg_fn=exponential_average(decay))
