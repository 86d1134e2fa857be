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
        residual: the largest change of a value in the last sweep, where that ended the search; 0
            where the tokens are exact, each found once all before it were.
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
            x[:, number] = map.inverse(z[:, number], reader.one(x, number, cache))
        return Solution(x, z.shape[1])


@dataclass(frozen=True)
class JacobiSolver(Solver):
    """All tokens at once, again and again: each sweep reads what the sweep before has found.

    After k sweeps the first k tokens are exact, so T sweeps are enough, and far fewer usually
    are. With several segments, one after the other is swept until it has settled
    (Gauss-Seidel-Jacobi). Song et al., Accelerating Feedforward Computation via Parallel
    Nonlinear Equation Solving (2021).

    Args:
        tolerance: the largest change of a value x in the last sweep, over ``1 + |x|``; null: 8
            roundings of the type.
        max_sweeps: of a segment, before the tokens are found one after the other instead, which
            is logged; null: as many as it has tokens, which always are enough.
        segments: how many parts of equal length (the last ones may be one token shorter).
    """

    tolerance: float | None = None
    max_sweeps: int | None = None
    segments: int = 1

    def __post_init__(self) -> None:
        if self.tolerance is not None and not self.tolerance >= 0:
            raise ArgumentError("tolerance", "0 or more, or null", self.tolerance)
        if self.max_sweeps is not None:
            check_count("max_sweeps", self.max_sweeps)
        check_count("segments", self.segments)

    def solve(self, z: Tensor, map: ElementwiseMap, reader: Reader) -> Solution:
        tolerance = 8 * torch.finfo(z.dtype).eps if self.tolerance is None else self.tolerance
        x, sweeps, residual = z.clone(), 0, 0.0
        for numbers in torch.arange(z.shape[1]).tensor_split(min(self.segments, z.shape[1])):
            segment = slice(int(numbers[0]), int(numbers[-1]) + 1)
            enough = len(numbers) if self.max_sweeps is None else self.max_sweeps
            sweep, change, settled = 0, 0.0, False
            # As many sweeps as there are tokens make them exact, whatever has changed.
            while not settled and sweep < min(enough, len(numbers)):
                change, settled = self._sweep(x, z, segment, map, reader, tolerance)
                sweep += 1
            sweeps += sweep
            if settled:
                residual = max(residual, change)
            elif sweep < len(numbers):
                log.warning(
                    "%d Jacobi sweeps left a change of %.1e, above the tolerance of %.1e; the "
                    "tokens are found one after the other instead.",
                    sweep,
                    change,
                    tolerance,
                )
                return CachedSolver().solve(z, map, reader)
        return Solution(x, sweeps, residual)

    def _sweep(
        self,
        x: Tensor,
        z: Tensor,
        segment: slice,
        map: ElementwiseMap,
        reader: Reader,
        tolerance: float,
    ) -> tuple[float, bool]:
        """Find a segment of x again, in place: the largest change, and whether it has settled."""
        parameters = reader.all(x[:, : segment.stop])[:, :, segment]
        new = map.inverse(z[:, segment], parameters)
        change = (new - x[:, segment]).abs()
        x[:, segment] = new
        return float(change.max()), bool((change <= tolerance * (1 + new.abs())).all())
