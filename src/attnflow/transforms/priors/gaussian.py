"""Gaussian priors, whose map takes latents to the standard normal base."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial

import torch
from torch import Tensor, nn

from attnflow.context import Context, required, with_condition
from attnflow.errors import check_least
from attnflow.nets.layers import zero_conv, zero_linear
from attnflow.transforms.base import Transform, sum_per_sample
from attnflow.transforms.guidance import guided
from attnflow.transforms.maps import GaussianMap, parameters_first

__all__ = ["GaussianPrior", "SplitGaussianPrior"]


class MappedPrior(Transform):
    """``z = (x - mean) exp(-log_std)``, by :class:`GaussianMap`.

    Subclasses define :meth:`features`, from which mean and log_std are read.
    """

    map = GaussianMap()

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        z, log_derivative = self.map.forward(x, self._map_parameters(x, context))
        return z, sum_per_sample(log_derivative)

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        return self.map.inverse(z, self._map_parameters(z, context))

    @abstractmethod
    def features(self, x: Tensor, context: Context | None) -> Tensor:
        """The map's parameters, (1 or B, 2 C, ...); x is read for its shape alone."""

    def _map_parameters(self, x: Tensor, context: Context | None) -> Tensor:
        features = guided(partial(self.features, x), context).to(x.dtype)
        return parameters_first(features, self.map.num_parameters, dim=1)


class GaussianPrior(MappedPrior):
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
        self.conditioner: nn.Linear | None = None
        if context_channels:
            self.conditioner = zero_linear(context_channels, 2 * num_channels)

    def features(self, x: Tensor, context: Context | None) -> Tensor:
        if self.conditioner is None:
            return self.bias
        condition = required(context).as_vector()[:, : self.conditioner.in_features]
        return self.bias + self.conditioner(condition)[..., None, None]


class SplitGaussianPrior(MappedPrior):
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
        check_least("hidden_channels", hidden_channels, 1)
        self.read_channels = kept_channels + context_channels
        self.bias = nn.Parameter(torch.zeros(1, 2 * num_channels, 1, 1))
        self.net: nn.Module | None = None
        if self.read_channels:
            self.net = nn.Sequential(
                nn.Conv2d(self.read_channels, hidden_channels, 3, padding=1),
                nn.ReLU(inplace=True),
                zero_conv(hidden_channels, 2 * num_channels, 3),
            )

    def features(self, x: Tensor, context: Context | None) -> Tensor:
        if self.net is None:
            return self.bias
        nothing = x.new_zeros(len(x), 0, *x.shape[2:])
        return self.bias + self.net(with_condition(nothing, context, self.read_channels))
