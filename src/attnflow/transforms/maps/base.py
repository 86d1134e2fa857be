"""The contract of an elementwise map."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from attnflow.transforms.guidance import linear

__all__ = ["ElementwiseMap", "bounded", "near_bound", "parameters_first"]


class ElementwiseMap(ABC):
    """``z = f(x; parameters)``, an increasing function of every value by itself.

    A pure function without weights of its own: whoever uses it decides what its parameters are
    read from, the other half of the channels (a coupling), the kept half (a prior) or earlier
    tokens (an autoregressive block).

    Shapes: x is any, (B, C, H, W) or (B, T, D) alike. The k parameters of a value lie along a
    first dimension in front of it: (k, ...), of x's type, the rest broadcasting to x's shape;
    :func:`parameters_first` makes them of what a network gives.
    """

    @property
    @abstractmethod
    def num_parameters(self) -> int:
        """k, how many parameters a value has."""

    @abstractmethod
    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """z and log(dz/dx) of every value, both of x's shape."""

    @abstractmethod
    def inverse(self, z: Tensor, parameters: Tensor) -> Tensor:
        """x such that ``forward(x, parameters)[0] == z``."""

    def towards_inverse(self, z: Tensor, parameters: Tensor, start: Tensor) -> Tensor:
        """One step from ``start`` towards the same x; x itself where it need not be searched for.

        What is within the map's rounding of x stays there.
        """
        return self.inverse(z, parameters)

    def at_bound(self, parameters: Tensor) -> Tensor | None:
        """Where a bounded scale has all but reached its bound, bool of x's shape; None: no bound.

        There its parameter gets next to no gradient, and the map cannot widen what it should.
        """
        return None

    def beyond(self, conditional: Tensor, unconditional: Tensor, weight: Tensor | float) -> Tensor:
        """The parameters of guidance: ``conditional + weight (conditional - unconditional)``.

        Args:
            conditional, unconditional: with a condition and without, (k, ...).
            weight: a number, or one that broadcasts to each parameter.
        """
        return linear(conditional, unconditional, weight)

    def start(self) -> Tensor | None:
        """Initial parameters, (k,), to be added to a network's; None for zeros."""
        return None


def parameters_first(features: Tensor, num_parameters: int, dim: int) -> Tensor:
    """Parameters (k, ..., C, ...) of features (..., k C, ...): all first ones, all second ones ...

    Args:
        features: what a network gives for the C values along dimension ``dim``.
        num_parameters: k.
        dim: which dimension holds the k C features.
    """
    return features.unflatten(dim, (num_parameters, -1)).movedim(dim % features.dim(), 0)


def near_bound(raw: Tensor, bound: float) -> Tensor:
    """Whether :func:`bounded` values lie within a hundredth of the bound."""
    return bounded(raw, bound).abs() > 0.99 * bound


def bounded(raw: Tensor, bound: float) -> Tensor:
    """``bound tanh(raw / bound)``: raw, bent smoothly so that its size stays below ``bound``."""
    return bound * torch.tanh(raw / bound)
