"""A limit on what building a model may take, for configs that nobody has looked at."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from attnflow.errors import AttnFlowError

__all__ = ["Allowance"]

# Functions that make tensors of any size out of a few numbers.
FACTORIES = (
    torch.empty,
    torch.zeros,
    torch.ones,
    torch.full,
    torch.rand,
    torch.randn,
    torch.eye,
    torch.arange,
    torch.linspace,
    torch.randperm,
)


class Allowance(TorchFunctionMode):
    """A context manager that raises before too many tensors, or too large ones, are made.

    Args:
        values: how many may be made from numbers alone, added up; and by any one operation.
        tensors: how many may be made from numbers alone.
        source: of the config that is built, for the message.

    Raises:
        AttnFlowError: the allowance is used up; time and memory are not.
    """

    def __init__(self, values: int, tensors: int, source: object) -> None:
        super().__init__()
        self.values, self.tensors, self.source = values, tensors, source

    def __torch_function__(
        self, func: Callable, types: Sequence[type], args: tuple = (), kwargs: Mapping | None = None
    ) -> object:
        kwargs = dict(kwargs or {})
        size = self._size(func, args, kwargs)
        if size > self.values or not self.tensors:
            self._refuse()
        if func in FACTORIES:
            self.values, self.tensors = self.values - size, self.tensors - 1
        return func(*args, **kwargs)

    def _size(self, func: Callable, args: tuple, kwargs: Mapping) -> int:
        """How many values the result of a call holds, as far as its arguments tell."""
        if func in FACTORIES:
            try:
                return func(*args, **{**kwargs, "device": "meta"}).numel()
            except (RuntimeError, OverflowError):  # beyond what any machine counts
                self._refuse()
        tensors = [each for each in args if isinstance(each, Tensor)]
        if func is Tensor.repeat:
            times = args[1] if isinstance(args[1], Sequence) else args[1:]
            return tensors[0].numel() * math.prod(times)
        try:
            return math.prod(torch.broadcast_shapes(*(each.shape for each in tensors)))
        except RuntimeError:  # no operation on each value
            return 0

    def _refuse(self) -> None:
        raise AttnFlowError(
            f"{self.source}: expected a model of the size of the file's weights, got a config of "
            "one that is far larger."
        )
