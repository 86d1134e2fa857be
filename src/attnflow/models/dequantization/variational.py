"""Variational dequantization."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnflow.context import Context
from attnflow.errors import AttnFlowError, check_least
from attnflow.models.bits import num_dimensions
from attnflow.models.dequantization.base import Dequantizer
from attnflow.nets import ConvNet
from attnflow.transforms import (
    AffineCoupling,
    Composition,
    InvertibleConv1x1,
    Squeeze,
    Transform,
)
from attnflow.transforms.base import full_precision, sum_per_sample

__all__ = ["VariationalDequantizer"]


class VariationalDequantizer(Dequantizer):
    """``u = sigmoid(f(logit(noise); x))``, f a flow that is conditioned on the image.

    Ho et al., Flow++ (2019), section 3.1. The noise in each grey value's bin takes the shape
    that suits the density, which need no longer model the bins' edges. f starts as a
    permutation of the (independent) noise, so training starts from uniform dequantization.

    Args:
        num_bins, image_shape: as for every :class:`Dequantizer`; both sides even.
        steps: couplings of f.
        hidden_channels: width of their nets and of the image's features.
    """

    def __init__(
        self,
        num_bins: int,
        image_shape: tuple[int, int, int],
        steps: int = 4,
        hidden_channels: int = 32,
    ) -> None:
        super().__init__(num_bins, image_shape)
        for name, value in (("steps", steps), ("hidden_channels", hidden_channels)):
            check_least(name, value, 1)
        channels, height, width = image_shape
        if height % 2 or width % 2:
            raise AttnFlowError(
                f"variational dequantization: expected images of even sides, got {height} x "
                f"{width}."
            )
        coupling = partial(
            AffineCoupling,
            net=partial(ConvNet, hidden_channels=hidden_channels),
            context_channels=hidden_channels,
        )
        self.features = nn.Sequential(
            nn.Conv2d(4 * channels, hidden_channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(hidden_channels, hidden_channels, 3, padding=1),
        )
        layers: dict[str, Transform] = {"squeeze": Squeeze()}
        for step in range(steps):
            layers[f"permutation_{step}"] = InvertibleConv1x1(4 * channels, "permutation")
            layers[f"coupling_{step}"] = coupling(4 * channels)
        self.flow = Composition(layers)

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        with full_precision(noise):
            centred = 2 * (x.to(noise.dtype) + 0.5) / self.num_bins - 1
            context = Context(maps=(self.features(F.pixel_unshuffle(centred, 2)),))
            # Noise comes in multiples of 2^-24, below 1; a 0 moves half a step off the border.
            logit = torch.logit(noise.clamp_min(2.0**-25))
            # du = sigmoid'(f) |f'| logit' dnoise, and the noise has density 1.
            log_q = sum_per_sample(_log_slope(logit))
            shaped, log_det = self.flow(logit, context)
            log_q = log_q - log_det - sum_per_sample(_log_slope(shaped))
            # A sigmoid rounds to 1, which would be the next grey value: keep a margin of a few
            # float32 steps at the largest grey value.
            margin = self.num_bins * 2.0**-22
            u = margin + (1 - 2 * margin) * torch.sigmoid(F.pixel_shuffle(shaped, 2))
            log_q = log_q - num_dimensions(self.image_shape) * math.log1p(-2 * margin)
        return (x.to(u.dtype) + u) / self.num_bins, log_q


def _log_slope(logit: Tensor) -> Tensor:
    """The log of the sigmoid's derivative."""
    return F.logsigmoid(logit) + F.logsigmoid(-logit)
