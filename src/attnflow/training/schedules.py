"""Learning-rate schedules: a linear warm-up, then a cosine decay or a constant rate.

Each is a function of the step alone, so that it can be entered at any step: a resumed training
takes the schedule of its own length at the step it has come to.
"""

from __future__ import annotations

import logging
import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from attnflow.errors import ArgumentError, AttnFlowError, check_least

__all__ = [
    "cosine_factor",
    "warmup_constant",
    "warmup_cosine",
    "warmup_factor",
    "warmup_length",
]

log = logging.getLogger(__name__)
# The default warm-up: so many steps, but at most this share of training.
DEFAULT_STEPS, DEFAULT_SHARE = 50, 0.1


def warmup_cosine(
    optimizer: Optimizer,
    total_steps: float,
    warmup_steps: int | None = None,
    final_fraction: float = 0.0,
) -> LambdaLR:
    """Linear warm-up over ``warmup_steps``, then a cosine down to ``final_fraction`` of the rate.

    Past ``total_steps`` the rate keeps its last value. Without ``warmup_steps``, the warm-up is
    one that fits (:func:`warmup_length`).

    Raises:
        AttnFlowError: the number of training steps is unknown, so no decay can be planned.
    """
    if not math.isfinite(total_steps):
        raise AttnFlowError(
            "scheduler=warmup_cosine: expected a known number of steps (trainer.max_epochs or "
            "trainer.max_steps, or scheduler=warmup_constant, which needs none), got no bound."
        )
    if not 0 <= final_fraction <= 1:
        raise ArgumentError("final_fraction", "a share from 0 to 1", final_fraction)
    warmup_steps = warmup_length(warmup_steps, total_steps)
    decay_steps = max(1, int(total_steps) - warmup_steps)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return warmup_factor(step, warmup_steps)
        return cosine_factor(step - warmup_steps, decay_steps, final_fraction)

    return LambdaLR(optimizer, factor)


def warmup_constant(optimizer: Optimizer, total_steps: float, warmup_steps: int = 100) -> LambdaLR:
    """Linear warm-up over ``warmup_steps``, then the optimizer's rate throughout."""
    warmup_steps = warmup_length(warmup_steps, total_steps)
    return LambdaLR(optimizer, lambda step: warmup_factor(step, warmup_steps))


def warmup_length(warmup_steps: int | None, total_steps: float) -> int:
    """The steps of a warm-up within a training of ``total_steps``.

    None gives 50 of them, but at most a tenth of training. A number is kept; where training ends
    before it, that is told.

    Raises:
        AttnFlowError: a negative number.
    """
    if warmup_steps is None:
        return int(min(DEFAULT_STEPS, DEFAULT_SHARE * total_steps))
    check_least("warmup_steps", warmup_steps, 0)
    if warmup_steps >= max(total_steps, 1):
        log.warning(
            "scheduler.warmup_steps: expected fewer than the %d steps of training, got %d: its "
            "full rate is never reached.",
            total_steps,
            warmup_steps,
        )
    return warmup_steps


def warmup_factor(step: int, warmup_steps: int) -> float:
    """The share of the rate at a step of the warm-up, from ``1 / warmup_steps`` up to 1."""
    if step >= warmup_steps:
        return 1.0
    return 1 / warmup_steps + (1 - 1 / warmup_steps) * step / warmup_steps


def cosine_factor(step: int, decay_steps: int, final_fraction: float) -> float:
    """The share of the rate at a step of the decay: 1 at step 0, ``final_fraction`` at its end."""
    progress = min(step / decay_steps, 1.0)
    return final_fraction + (1 - final_fraction) * (1 + math.cos(math.pi * progress)) / 2
