"""Where a model runs."""

from __future__ import annotations

import torch

from attnflow.errors import AttnFlowError

__all__ = ["chosen_device"]


def chosen_device(name: str) -> torch.device:
    """The device of a name; of ``auto`` the accelerator of this machine, or else the CPU.

    Raises:
        AttnFlowError: no such device here.
    """
    if name == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return torch.device("cpu") if found is None else found
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise AttnFlowError(
            f"device: expected auto, cpu or a device of this machine, got {name} "
            f"({str(error).splitlines()[0]})."
        ) from error
    return device
