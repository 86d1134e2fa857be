"""Do two checkpoints hold the same training?"""

from __future__ import annotations

import torch

__all__ = ["TRAINING_STATE", "difference"]

# The parts of a checkpoint that decide how training goes on.
TRAINING_STATE = (
    "state_dict",  # the averaged weights
    "current_model_state",
    "averaging_state",
    "optimizer_states",
    "lr_schedulers",
    "epoch",
    "global_step",
)


def difference(a: object, b: object, where: str = "") -> str | None:
    """Where two nests of dicts and lists first differ, bit for bit; None where they do not."""
    if isinstance(a, torch.Tensor):
        return None if torch.equal(a, b) else where
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return where
        pairs = [(a[key], b[key], f"{where}.{key}") for key in a]
    elif isinstance(a, list | tuple):
        if len(a) != len(b):
            return where
        pairs = [(a[i], b[i], f"{where}[{i}]") for i in range(len(a))]
    else:
        return None if a == b else where
    found = (difference(*pair) for pair in pairs)
    return next((place for place in found if place is not None), None)
