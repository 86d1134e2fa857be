"""The map of a distribution over grey levels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attnflow.errors import ArgumentError, check_count
from attnflow.transforms.base import full_precision
from attnflow.transforms.maps.base import ElementwiseMap

__all__ = ["GreyLevelsMap"]

# What levels share equally of all probability: a rounding of z moves x by at most L / SPREAD of a
# level's roundings. A tenth of it would be worth 0.003 bits/dim on the digits.
SPREAD = 1e-2
# Beyond the lowest and the highest level lies what a normal distribution has beyond 4.
EDGE = 4.0


@dataclass(frozen=True)
class GreyLevelsMap(ElementwiseMap):
    """``z = Phi^-1(F(x))``, F the CDF of L grey levels, each spread evenly over its width.

    Uniform dequantization spreads them so: what is learned are the probabilities of the levels
    themselves, and z is exactly normal where these are right. A piecewise linear CDF as in Mueller
    et al., Neural Importance Sampling (2019), section 4. Beyond the levels z goes on with a slope
    of 1. Parameters: the logits of the levels.

    Args:
        levels: L, 2 or more.
        low, high: where the lowest level begins, and the highest ends.

    Raises:
        ArgumentError: fewer levels, or no width.
    """

    levels: int
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        check_count("levels", self.levels, least=2)
        if not self.high > self.low:
            raise ArgumentError("high", f"more than low, {self.low}", self.high)

    @property
    def num_parameters(self) -> int:
        return self.levels

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            probability, below = self._levels(x, parameters)
            place = (x - self.low) / self._width
            number = place.detach().floor().clamp(0, self.levels - 1)
            index = number.long()[None]
            chosen = probability.gather(0, index)[0]
            inside = below.gather(0, index)[0] + chosen * (place - number).clamp(0, 1)
            z = torch.special.ndtri(inside.clamp(*self._ends()))
            log_slope = chosen.log() - math.log(self._width) + z**2 / 2 + math.log(2 * math.pi) / 2
            beyond = x - x.clamp(self.low, self.high)
            return z + beyond, torch.where(beyond == 0, log_slope, 0)

    def inverse(self, z: Tensor, parameters: Tensor) -> Tensor:
        with full_precision(z):
            probability, below = self._levels(z, parameters)
            inside = z.clamp(-EDGE, EDGE)
            reached = torch.special.ndtr(inside)
            index = (below[1:] <= reached).sum(0, keepdim=True)
            chosen, under = (each.gather(0, index)[0] for each in (probability, below))
            place = index[0] + ((reached - under) / chosen).clamp(0, 1)
            return self.low + self._width * place + (z - inside)

    @property
    def _width(self) -> float:
        """Of a level."""
        return (self.high - self.low) / self.levels

    def _ends(self) -> tuple[float, float]:
        """F where the lowest level begins, and where the highest ends."""
        end = math.erfc(EDGE / math.sqrt(2)) / 2
        return end, 1 - end

    def _levels(self, like: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """The probability of each level, and F where it begins, both (L, ...) of x's shape."""
        lowest, highest = self._ends()
        probability = (1 - SPREAD) * parameters.softmax(0) + SPREAD / self.levels
        probability = (highest - lowest) * probability.expand(self.levels, *like.shape)
        return probability, lowest + probability.cumsum(0) - probability
