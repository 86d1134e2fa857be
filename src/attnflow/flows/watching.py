"""What the transforms of a flow are applied to, as the flow runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

__all__ = ["watched"]


@contextmanager
def watched(
    flow: nn.Module,
    which: Callable[[nn.Module], bool],
    record: Callable[[str, nn.Module, tuple], None],
) -> Iterator[None]:
    """Call ``record(name, module, inputs)`` before each chosen module of a flow runs.

    Compiled code runs eagerly within, as it calls no hooks.

    Args:
        flow: whose modules are watched.
        which: chooses them.
        record: what is called with a module's name in the flow, itself and its inputs.
    """
    handles = [
        module.register_forward_pre_hook(partial(record, name))
        for name, module in flow.named_modules()
        if which(module)
    ]
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for handle in handles:
            handle.remove()
