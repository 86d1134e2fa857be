"""How the inverse of an autoregressive block is found: exactly, in several ways."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from attnflow.errors import ArgumentError, check_count
from attnflow.transforms.autoregressive.readers import Reader
from attnflow.transforms.maps import ElementwiseMap

__all__ = ["CachedSolver", "JacobiSolver", "SerialSolver", "Solution", "Solver"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Solution:
    """Tokens, and how they were found.

    Attributes:
        tokens: x, (B, T, D).
        sweeps: how often the net was run, over however many tokens.
        residual: the largest change of a value in the sweep that was taken to be its last; 0 where
            the tokens are exact, each found once all before it were.
    """

    tokens: Tensor
    sweeps: int
    residual: float = 0.0


class Solver(ABC):
    """Finds x with ``z_i = f(x_i; parameters read from x_1, ..., x_(i-1))``."""

    @abstractmethod
    def solve(self, z: Tensor, map: ElementwiseMap, reader: Reader) -> Solution:
        """The tokens x of z, (B, T, D).

        Args:
            z: in the order in which tokens are read.
            map: f.
            reader: of f's parameters.
        """


@dataclass(frozen=True)
class SerialSolver(Solver):
    """Token by token, running the net over all tokens so far: O(T) runs, the plain definition."""

    def solve(self, z: Tensor, map: ElementwiseMap, reader: Reader) -> Solution:
        x = torch.zeros_like(z)
        for number in range(z.shape[1]):
            parameters = reader.all(x[:, : number + 1])[:, :, number]
            x[:, number] = map.inverse(z[:, number], parameters)
        return Solution(x, z.shape[1])


@dataclass(frozen=True)
class CachedSolver(Solver):
    """Token by token, the keys and values of earlier tokens kept: T runs over one token each."""

    def solve(self, z: Tensor, map: ElementwiseMap, reader: Reader) -> Solution:
        x, cache = torch.zeros_like(z), reader.cache(len(z))
        for number in range(z.shape[1]):
            place = slice(number, number + 1)
            x[:, place] = map.inverse(z[:, place], reader.some(x, place, cache))
        return Solution(x, z.shape[1])


@dataclass(frozen=True)
class JacobiSolver(Solver):
    """Many tokens at once, again and again: each sweep reads what the sweep before has found.

    A sweep takes every token one step towards its inverse. Those that lead it and have not changed
    are final; the one behind them has read nothing but these, so its inverse is final too; the next
    sweep begins behind it. So T sweeps are enough, and far fewer usually are. Song et al.,
    Accelerating Feedforward Computation via Parallel Nonlinear Equation Solving (2021): Jacobi over
    all tokens, and Gauss-Seidel-Jacobi over a window of them.

    Args:
        tolerance: the largest change of a value x in the last sweep, over ``1 + |x|``; null: 8
            roundings of the type.
        window: how many tokens a sweep has at most; null: all that are left.
        max_sweeps: of them all, before the tokens that are left are found one after the other,
            which is logged; null: as many as there are tokens, which always are enough.
    """

    tolerance: float | None = None
    window: int | None = None
    max_sweeps: int | None = None

    def __post_init__(self) -> None:
        if self.tolerance is not None and not self.tolerance >= 0:
            raise ArgumentError("tolerance", "0 or more, or null", self.tolerance)
        for name in ("window", "max_sweeps"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))

    def solve(self, z: Tensor, map: ElementwiseMap, reader: Reader) -> Solution:
        tolerance = 8 * torch.finfo(z.dtype).eps if self.tolerance is None else self.tolerance
        x, cache, tokens = z.clone(), reader.cache(len(z)), z.shape[1]
        window, found, sweeps, residual = self.window or tokens, 0, 0, 0.0
        while found < tokens:
            if sweeps == self.max_sweeps:
                log.warning(
                    "%d Jacobi sweeps left %d of %d tokens above the tolerance of %.1e; those are "
                    "found one after the other instead.",
                    sweeps,
                    tokens - found,
                    tokens,
                    tolerance,
                )
                window = 1
            places = slice(found, min(found + window, tokens))
            parameters = reader.some(x, places, cache)
            new = map.towards_inverse(z[:, places], parameters, x[:, places])
            change = (new - x[:, places]).abs()
            x[:, places] = new
            settled = leading(change <= tolerance * (1 + new.abs()))
            if settled:
                residual = max(residual, float(change[:, :settled].max()))
            found, sweeps = found + settled, sweeps + 1
            if found < places.stop:  # it has read what is settled alone
                at, read = slice(found, found + 1), slice(settled, settled + 1)
                x[:, at] = map.inverse(z[:, at], parameters[:, :, read])
                found += 1
        return Solution(x, sweeps, residual)


def leading(settled: Tensor) -> int:
    """How many of the first tokens have settled before one that has not.

    Args:
        settled: which values, bool (B, n, D).
    """
    return int(settled.all(2).all(0).long().cumprod(0).sum())
