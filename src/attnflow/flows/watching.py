"""What the transforms of a flow are applied to and give, as the flow runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

__all__ = ["watched"]


@contextmanager
def watched(
    model: nn.Module,
    which: Callable[[nn.Module], bool],
    record: Callable[[str, nn.Module, tuple, Any], None],
) -> Iterator[None]:
    """Call ``record(name, module, inputs, outputs)`` after each chosen module has run.

    Compiled code runs eagerly within, as it calls no hooks.

    Args:
        model: a flow, or what holds one, whose modules are watched.
        which: chooses them.
        record: what is called with a module's name in the model, itself, its inputs and outputs.
    """
    handles = [
        module.register_forward_hook(partial(record, name))
        for name, module in model.named_modules()
        if which(module)
    ]
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for handle in handles:
            handle.remove()
