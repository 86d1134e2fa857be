"""The affine map, and the same map the other way: from a Gaussian to the standard normal."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnflow.transforms.guidance import linear
from attnflow.transforms.maps.base import ElementwiseMap, bounded, near_bound

__all__ = ["AffineMap", "GaussianMap"]


@dataclass(frozen=True)
class AffineMap(ElementwiseMap):
    """``z = x exp(s) + t`` with ``s = S tanh(raw / S)``, so that ``|s| < S``.

    Dinh et al., RealNVP (2017), equations 7 and 8. Parameters: (t, raw).

    Args:
        largest_log_scale: the bound S.
    """

    largest_log_scale: float = 2.0

    @property
    def num_parameters(self) -> int:
        return 2

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = shift_and_log_scale(parameters, self.largest_log_scale)
        return scaled(x, shift, log_scale), log_scale.expand_as(x)

    def inverse(self, z: Tensor, parameters: Tensor) -> Tensor:
        return unscaled(z, *shift_and_log_scale(parameters, self.largest_log_scale))

    def at_bound(self, parameters: Tensor) -> Tensor:
        return near_bound(parameters[1], self.largest_log_scale)

    def beyond(self, conditional: Tensor, unconditional: Tensor, weight: Tensor | float) -> Tensor:
        """The parameters of guidance, of ``x = (z - t) exp(-s)``: of -t exp(-s) and raw.

        TarFlow's: the shift t itself says where x lies only together with its scale.
        """
        mean, other = (
            self.inverse(torch.zeros_like(p[0]), p) for p in (conditional, unconditional)
        )
        raw = linear(conditional[1], unconditional[1], weight)
        log_scale = bounded(raw, self.largest_log_scale)
        return torch.stack([-linear(mean, other, weight) * log_scale.exp(), raw])


@dataclass(frozen=True)
class GaussianMap(ElementwiseMap):
    """``z = (x - mean) exp(-s)`` with ``s = S tanh(raw / S)``: the affine map the other way.

    It takes a Gaussian of this mean and log standard deviation s to the standard normal, as in
    Papamakarios et al., MAF (2017), equation 4. Parameters: (mean, raw).

    Args:
        largest_log_std: the bound S.
    """

    largest_log_std: float = 3.0

    @property
    def num_parameters(self) -> int:
        return 2

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = shift_and_log_scale(parameters, self.largest_log_std)
        return unscaled(x, mean, log_std), -log_std.expand_as(x)

    def inverse(self, z: Tensor, parameters: Tensor) -> Tensor:
        return scaled(z, *shift_and_log_scale(parameters, self.largest_log_std))

    def at_bound(self, parameters: Tensor) -> Tensor:
        return near_bound(parameters[1], self.largest_log_std)


def shift_and_log_scale(parameters: Tensor, largest: float) -> tuple[Tensor, Tensor]:
    """The two parameters of an affine map, (2, ...), the second bounded by ``largest``."""
    shift, raw = parameters
    return shift, bounded(raw, largest)


def scaled(x: Tensor, shift: Tensor, log_scale: Tensor) -> Tensor:
    """``x exp(log_scale) + shift``."""
    return x * log_scale.exp() + shift


def unscaled(z: Tensor, shift: Tensor, log_scale: Tensor) -> Tensor:
    """``(z - shift) exp(-log_scale)``, the inverse of :func:`scaled`."""
    return (z - shift) * (-log_scale).exp()
