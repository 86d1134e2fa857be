"""What all couplings share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from attnflow.context import Context
from attnflow.nets.convnet import ConvNet
from attnflow.transforms.base import Transform, halves, sum_per_sample
from attnflow.utils.arguments import call, check_kind

__all__ = ["Coupling", "NetFactory"]

# net(in_channels, out_channels, context_channels=...) -> module(features, context)
NetFactory = Callable[..., nn.Module]


class Coupling(Transform):
    """``z = (x_a, f(x_b; net(x_a, context)))``: f acts on each value of x_b alone.

    A subclass names :attr:`parameters_per_value` and defines :meth:`transform` and
    :meth:`untransform`. The Jacobian is triangular, so log_det is the sum of the logs of
    f's derivatives. Dinh et al., RealNVP (2017).

    Args:
        num_channels: C, even.
        net: makes the coupling net, called as ``net(in_channels, out_channels,
            context_channels=...)``; its last layer starts at zero.
        context_channels: width of the condition; 0 for none.
    """

    parameters_per_value: int

    def __init__(
        self, num_channels: int, net: NetFactory = ConvNet, context_channels: int = 0
    ) -> None:
        super().__init__()
        half = halves(num_channels, type(self).__name__)
        width = half * self.parameters_per_value
        self.net = call("coupling_net", net, half, width, context_channels=context_channels)
        check_kind("coupling_net", self.net, nn.Module)

    def transform(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """z and log|dz/dx| of every value, from parameters (B, k C / 2, H, W)."""
        raise NotImplementedError

    def untransform(self, z: Tensor, parameters: Tensor) -> Tensor:
        """The inverse of :meth:`transform`."""
        raise NotImplementedError

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        passive, active = x.chunk(2, 1)
        parameters = self.net(passive, context).to(x.dtype)
        active, log_derivative = self.transform(active, parameters)
        return torch.cat([passive, active], 1), sum_per_sample(log_derivative)

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        passive, active = z.chunk(2, 1)
        parameters = self.net(passive, context).to(z.dtype)
        return torch.cat([passive, self.untransform(active, parameters)], 1)
