"""Where a model runs."""

from __future__ import annotations

import torch

from attnflow.errors import AttnFlowError

__all__ = ["chosen_device", "why_absent"]


def chosen_device(name: str) -> torch.device:
    """The device of a name; of ``auto`` the accelerator of this machine, or else the CPU.

    Raises:
        AttnFlowError: no such device here.
    """
    if name == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return torch.device("cpu") if found is None else found
    if reason := why_absent(name):
        raise AttnFlowError(
            f"device: expected auto, cpu or a device of this machine, got {name} ({reason})."
        )
    return torch.device(name)


def why_absent(name: str) -> str | None:
    """Why this machine has no device of a name, in torch's words; None where it has."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0]
    return None
