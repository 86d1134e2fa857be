"""Gaussian noise instead of dequantization."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from attnflow.errors import ArgumentError
from attnflow.models.dequantization.base import Dequantizer

__all__ = ["GaussianDequantizer"]


class GaussianDequantizer(Dequantizer):
    """``y = (x + 1/2) / num_bins + std noise``, noise standard normal: for pictures.

    Zhai et al., TarFlow (2024), section 2.4. The flow learns the density of noisy images, which
    spreads over the space between images and is the easier to sample from. The noise leaves a
    grey value's bin, so that density says nothing of integer images: there are no bits/dim. What
    is logged instead, ``noisy_bpd``, is ``-log p(y)`` in the same units, which compares models of
    the same std alone, and whose expectation is at least ``log2(num_bins std sqrt(2 pi e))``.

    Args:
        num_bins, image_shape: as for every :class:`Dequantizer`.
        std: of the noise, in units of the whole range of pixels, above 0.
        denoise: whether samples are the noisy ones' expected clean images,
            ``E[x | y] = y + std^2 grad log p(y)`` (Tweedie's formula), which takes the gradient of
            the density once.

    Raises:
        ArgumentError: no such std.
    """

    metric = "noisy_bpd"

    def __init__(
        self,
        num_bins: int,
        image_shape: tuple[int, int, int],
        std: float = 0.05,
        denoise: bool = True,
    ) -> None:
        super().__init__(num_bins, image_shape)
        if not 0 < std < math.inf:
            raise ArgumentError("std", "a number above 0", std)
        self.std, self.denoise = std, denoise

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Integers to noisy values.

        Args:
            x: (B, C, H, W), integers in 0 .. num_bins - 1.
            noise: the same shape, uniform in [0, 1); made normal by its quantile function.

        Returns:
            y, (B, C, H, W), unbounded, and zeros, (B,).
        """
        # Noise comes in multiples of 2^-24; a 0 moves half a step.
        normal = torch.special.ndtri(noise.clamp_min(2.0**-25))
        y = (x.to(noise.dtype) + 0.5) / self.num_bins + self.std * normal
        return y, torch.zeros(len(x), dtype=noise.dtype, device=x.device)

    def clean(self, y: Tensor, log_prob: Callable[[Tensor], Tensor]) -> Tensor:
        return self.expected(y, log_prob) if self.denoise else y

    def expected(self, y: Tensor, log_prob: Callable[[Tensor], Tensor]) -> Tensor:
        """The expected images of noisy ones, ``y + std^2 grad log p(y)``: (B, C, H, W)."""
        with torch.enable_grad():
            noisy = y.detach().requires_grad_()
            (score,) = torch.autograd.grad(log_prob(noisy).sum(), noisy)
        return y + self.std**2 * score

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, std={self.std}"
