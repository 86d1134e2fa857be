"""Learning-rate schedules: a linear warm-up, then cosine decay or a constant rate."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    SequentialLR,
)

from attnflow.errors import AttnFlowError, check_least

__all__ = ["warmup_constant", "warmup_cosine"]


def warmup_cosine(
    optimizer: Optimizer,
    total_steps: float,
    warmup_steps: int = 100,
    final_fraction: float = 0.0,
) -> LRScheduler:
    """Linear warm-up over ``warmup_steps``, then a cosine down to ``final_fraction`` of the rate.

    Raises:
        AttnFlowError: the number of training steps is unknown, so no decay can be planned.
    """
    if not math.isfinite(total_steps):
        raise AttnFlowError(
            "scheduler warmup_cosine needs a known number of steps, but trainer.max_epochs and "
            "trainer.max_steps are both unbounded; a bound, or scheduler=warmup_constant, is "
            "accepted."
        )
    if not 0 <= final_fraction <= 1:
        raise AttnFlowError(
            f"scheduler.final_fraction is {final_fraction}; a share from 0 to 1 is accepted."
        )
    decay_steps = max(1, int(total_steps) - warmup_steps)
    base_lr = optimizer.param_groups[0]["lr"]
    decay = CosineAnnealingLR(optimizer, decay_steps, eta_min=final_fraction * base_lr)
    return _after_warmup(optimizer, warmup_steps, decay)


def warmup_constant(
    optimizer: Optimizer, total_steps: float, warmup_steps: int = 100
) -> LRScheduler:
    """Linear warm-up over ``warmup_steps``, then the optimizer's rate throughout."""
    return _after_warmup(optimizer, warmup_steps, ConstantLR(optimizer, factor=1.0, total_iters=0))


def _after_warmup(optimizer: Optimizer, warmup_steps: int, then: LRScheduler) -> LRScheduler:
    check_least("scheduler.warmup_steps", warmup_steps, 0)
    steps = max(1, warmup_steps)
    warmup = LinearLR(optimizer, start_factor=1 / steps, total_iters=steps)
    return SequentialLR(optimizer, [warmup, then], milestones=[steps])
