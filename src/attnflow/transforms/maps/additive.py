"""The additive map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnflow.transforms.maps.base import ElementwiseMap

__all__ = ["AdditiveMap"]


@dataclass(frozen=True)
class AdditiveMap(ElementwiseMap):
    """``z = x + t``; volume is kept. Dinh et al., NICE (2015). Parameters: (t,)."""

    @property
    def num_parameters(self) -> int:
        return 1

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        (shift,) = parameters
        return x + shift, torch.zeros_like(x)

    def inverse(self, z: Tensor, parameters: Tensor) -> Tensor:
        (shift,) = parameters
        return z - shift
