"""Uniform dequantization."""

from __future__ import annotations

import torch
from torch import Tensor

from attnflow.models.dequantization.base import Dequantizer

__all__ = ["UniformDequantizer"]


class UniformDequantizer(Dequantizer):
    """``u`` uniform in [0, 1)^D, so log q(u | x) = 0. Theis et al. (2016)."""

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        y = (x.to(noise.dtype) + noise) / self.num_bins
        return y, torch.zeros(len(x), dtype=noise.dtype, device=x.device)
