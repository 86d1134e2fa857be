"""Optimizers that step in one pass over all weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch.optim import Optimizer

__all__ = ["SCALED", "fusing", "place_steps"]

# The precision whose gradients are scaled. A fused optimizer unscales them itself, after they are
# clipped, so that Lightning refuses to clip them.
SCALED = "16-mixed"
# Options that torch's optimizers do not take together with ``fused``.
OTHER_WAYS = ("foreach", "differentiable")


def fusing(
    make_optimizer: Callable[..., Optimizer] | None, device: torch.device, precision: str
) -> Mapping[str, bool]:
    """Further options of an optimizer whose ``fused`` is None: true where that can be.

    torch's own choice is one pass a weight on a CPU, which takes three times as long.

    Args:
        make_optimizer: makes it; a ``functools.partial`` may hold options.
        device: of the weights.
        precision: of the trainer.
    """
    options = make_optimizer.keywords if isinstance(make_optimizer, partial) else {}
    if "fused" not in options or options["fused"] is not None:
        return {}
    can = device.type in ("cpu", "cuda", "mps") and precision != SCALED
    return {"fused": can and not any(options.get(name) for name in OTHER_WAYS)}


def place_steps(optimizer: Optimizer) -> None:
    """Put the counts of steps where a fused optimizer reads them, beside the weights.

    They lie on the CPU in the state of one that was not fused.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"] if group.get("fused") else ():
            state = optimizer.state.get(parameter, {})
            if "step" in state:
                state["step"] = state["step"].to(parameter.device)
