"""Gaussian priors, as affine maps to the standard normal base."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnflow.context import Context, with_condition
from attnflow.errors import check_least
from attnflow.nets.layers import zero_conv
from attnflow.transforms.base import Transform, sum_per_sample

__all__ = ["GaussianPrior", "SplitGaussianPrior"]

LARGEST_LOG_STD = 3.0


class _GaussianPrior(Transform):
    """``z = (x - mean) exp(-log_std)``; mean and log_std come from :meth:`_raw`."""

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        mean, log_std = self._mean_and_log_std(x, context)
        return (x - mean) * (-log_std).exp(), -sum_per_sample(log_std.expand_as(x))

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        mean, log_std = self._mean_and_log_std(z, context)
        return mean + z * log_std.exp()

    def _raw(self, x: Tensor, context: Context | None) -> Tensor:
        """Mean and unbounded log_std, (1 or B, 2 C, ...); x is read for its shape alone."""
        raise NotImplementedError

    def _mean_and_log_std(self, x: Tensor, context: Context | None) -> tuple[Tensor, Tensor]:
        mean, raw = self._raw(x, context).to(x.dtype).chunk(2, 1)
        return mean, bounded_log_std(raw)


class GaussianPrior(_GaussianPrior):
    """A Gaussian with a learned mean and scale for each channel, the same at all positions.

    It does not read the kept half. With a condition, mean and scale depend on it.

    Args:
        num_channels: C of the latent.
        kept_channels: of the half that the flow keeps; not read.
        context_channels: width of the condition; 0 for none.
    """

    def __init__(
        self, num_channels: int, kept_channels: int = 0, context_channels: int = 0
    ) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, 2 * num_channels, 1, 1))
        self.conditioner = None
        if context_channels:
            self.conditioner = nn.Linear(context_channels, 2 * num_channels)
            nn.init.zeros_(self.conditioner.weight)
            nn.init.zeros_(self.conditioner.bias)

    def _raw(self, x: Tensor, context: Context | None) -> Tensor:
        if self.conditioner is None:
            return self.bias
        condition = context.as_vector()[:, : self.conditioner.in_features]
        return self.bias + self.conditioner(condition)[..., None, None]


class SplitGaussianPrior(_GaussianPrior):
    """A Gaussian whose mean and scale at every position a network reads in the kept half.

    Kingma & Dhariwal, Glow (2018), section 3.4. At the last level, where nothing is kept and
    without a condition, it is a learned Gaussian for every channel.

    Args:
        num_channels: C of the latent.
        kept_channels: of the half that the flow keeps; 0 at the last level.
        context_channels: width of the condition; 0 for none.
        hidden_channels: width of the network.
    """

    def __init__(
        self,
        num_channels: int,
        kept_channels: int = 0,
        context_channels: int = 0,
        hidden_channels: int = 64,
    ) -> None:
        super().__init__()
        check_least("prior.hidden_channels", hidden_channels, 1)
        self.read_channels = kept_channels + context_channels
        self.bias = nn.Parameter(torch.zeros(1, 2 * num_channels, 1, 1))
        self.net = None
        if self.read_channels:
            self.net = nn.Sequential(
                nn.Conv2d(self.read_channels, hidden_channels, 3, padding=1),
                nn.ReLU(inplace=True),
                zero_conv(hidden_channels, 2 * num_channels, 3),
            )

    def _raw(self, x: Tensor, context: Context | None) -> Tensor:
        if self.net is None:
            return self.bias
        nothing = x.new_zeros(len(x), 0, *x.shape[2:])
        return self.bias + self.net(with_condition(nothing, context, self.read_channels))


def bounded_log_std(raw: Tensor) -> Tensor:
    """``raw``, bent smoothly so that its absolute value stays below LARGEST_LOG_STD."""
    return LARGEST_LOG_STD * torch.tanh(raw / LARGEST_LOG_STD)
