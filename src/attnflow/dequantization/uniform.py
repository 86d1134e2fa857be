"""Uniform dequantization."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["UniformDequantizer"]


class UniformDequantizer(nn.Module):
    """``y = (x + u) / num_bins`` with u uniform in [0, 1)^D.

    A density of y in [0, 1)^D then bounds the probability of the integer image x from
    below (Theis et al., 2016); log q(u | x) = 0.

    Args:
        num_bins: the number of grey values of a pixel, 2 or more.
    """

    def __init__(self, num_bins: int) -> None:
        super().__init__()
        self.num_bins = num_bins

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Integers to continuous values.

        Args:
            x: (B, C, H, W), integers in 0 .. num_bins - 1.
            noise: the same shape, uniform in [0, 1).

        Returns:
            y, (B, C, H, W) in [0, 1), and log q(u | x), (B,), in nats.
        """
        y = (x.to(noise.dtype) + noise) / self.num_bins
        return y, torch.zeros(len(x), dtype=noise.dtype, device=x.device)

    def quantize(self, y: Tensor) -> Tensor:
        """Continuous values to integers: the bin that each lies in, the nearest outside [0, 1)."""
        return (y * self.num_bins).floor().nan_to_num(0).clamp(0, self.num_bins - 1).long()

    def extra_repr(self) -> str:
        return f"num_bins={self.num_bins}"
