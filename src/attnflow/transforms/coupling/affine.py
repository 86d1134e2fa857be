"""Affine and additive couplings."""

from __future__ import annotations

import torch
from torch import Tensor

from attnflow.transforms.coupling.base import Coupling

__all__ = ["AdditiveCoupling", "AffineCoupling"]


class AffineCoupling(Coupling):
    """``z_b = x_b exp(s) + t``, with ``(t, s) = net(x_a)`` and |s| < 2.

    Dinh et al., RealNVP (2017), equations 7 and 8. The log-scale is bounded smoothly:
    ``s = 2 tanh(raw / 2)``.
    """

    parameters_per_value = 2

    def transform(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = _shift_and_log_scale(parameters)
        return x * log_scale.exp() + shift, log_scale

    def untransform(self, z: Tensor, parameters: Tensor) -> Tensor:
        shift, log_scale = _shift_and_log_scale(parameters)
        return (z - shift) * (-log_scale).exp()


class AdditiveCoupling(Coupling):
    """``z_b = x_b + net(x_a)``; volume is kept: log_det is 0. Dinh et al., NICE (2015)."""

    parameters_per_value = 1

    def transform(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return x + parameters, torch.zeros_like(x)

    def untransform(self, z: Tensor, parameters: Tensor) -> Tensor:
        return z - parameters


def _shift_and_log_scale(parameters: Tensor) -> tuple[Tensor, Tensor]:
    shift, raw = parameters.chunk(2, 1)
    # 2 tanh(raw / 2), by the function that is computed faster.
    return shift, 4 * torch.sigmoid(raw) - 2
