"""Learning-rate schedules, as the values that an optimizer steps with."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler

from attnflow.training.schedules import warmup_constant, warmup_cosine, warmup_length


def rates(make: Callable[..., LRScheduler], number: int, **options: float) -> list[float]:
    """The learning rates of the first ``number`` steps."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = make(optimizer, **options)
    found = []
    for _ in range(number):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_warmup_then_cosine_down_to_nothing() -> None:
    found = rates(warmup_cosine, 12, total_steps=12, warmup_steps=4)
    warm = [2.0 * (1 / 4 + 3 / 4 * k / 4) for k in range(4)]
    cosine = [1 + math.cos(math.pi * k / 8) for k in range(8)]
    assert found == pytest.approx([*warm, *cosine], abs=1e-12)


def test_past_its_end_a_schedule_keeps_its_last_value() -> None:
    found = rates(warmup_cosine, 40, total_steps=12, warmup_steps=4, final_fraction=0.1)
    assert found[12:] == pytest.approx([0.2] * 28, abs=1e-12)
    assert all(a >= b for a, b in pairwise(found[4:]))


def test_warmup_then_constant() -> None:
    found = rates(warmup_constant, 8, total_steps=math.inf, warmup_steps=5)
    assert found == pytest.approx([0.4, 0.72, 1.04, 1.36, 1.68, 2.0, 2.0, 2.0], abs=1e-12)


def test_no_warmup_starts_at_the_full_rate() -> None:
    assert rates(warmup_cosine, 1, total_steps=5, warmup_steps=0) == [2.0]
    assert rates(warmup_constant, 3, total_steps=5, warmup_steps=0) == [2.0] * 3


@pytest.mark.parametrize(
    ("total_steps", "length"), [(1080, 50), (500, 50), (499, 49), (20, 2), (5, 0), (1, 0)]
)
def test_a_warmup_that_nobody_chose_fits_any_training(total_steps, length) -> None:
    assert warmup_length(None, total_steps) == length
    found = rates(warmup_cosine, total_steps, total_steps=total_steps)
    assert found.index(max(found)) == length
    assert max(found) == 2.0


def test_the_default_is_fifty_steps_of_the_digits_training() -> None:
    chosen, default = (
        rates(warmup_cosine, 1080, total_steps=1080, warmup_steps=steps) for steps in (50, None)
    )
    assert default == chosen


@pytest.mark.parametrize("schedule", [warmup_cosine, warmup_constant])
def test_a_warmup_longer_than_training_is_told(schedule, caplog) -> None:
    rates(schedule, 1, total_steps=51, warmup_steps=50)
    assert not caplog.text
    rates(schedule, 1, total_steps=50, warmup_steps=50)
    assert "scheduler.warmup_steps: expected fewer than the 50 steps of training, got 50" in (
        caplog.text
    )
