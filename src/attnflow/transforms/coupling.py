"""Couplings: half of the channels is transformed by what a network reads in the other half."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from attnflow.context import Context
from attnflow.errors import AttnFlowError
from attnflow.nets.convnet import ConvNet
from attnflow.transforms.base import Transform, sum_per_sample
from attnflow.transforms.guidance import guided
from attnflow.transforms.maps import (
    AdditiveMap,
    AffineMap,
    ElementwiseMap,
    MixtureCDFMap,
    parameters_first,
)
from attnflow.utils.arguments import call, check_kind

__all__ = ["AdditiveCoupling", "AffineCoupling", "Coupling", "MixLogCDFCoupling", "NetFactory"]

# net(in_channels, out_channels, context_channels=...) -> module(features, context)
NetFactory = Callable[..., nn.Module]


class Coupling(Transform):
    """``z = (x_a, f(x_b; net(x_a, context)))``: f acts on each value of x_b alone.

    The Jacobian is triangular, so log_det is the sum of the logs of f's derivatives. Dinh et
    al., RealNVP (2017).

    Args:
        num_channels: C, even.
        map: f.
        net: makes the coupling net, called as ``net(in_channels, out_channels,
            context_channels=...)``; its last layer starts at zero.
        context_channels: width of the condition; 0 for none.
    """

    def __init__(
        self,
        num_channels: int,
        map: ElementwiseMap,
        net: NetFactory = ConvNet,
        context_channels: int = 0,
    ) -> None:
        super().__init__()
        if num_channels < 2 or num_channels % 2:
            raise AttnFlowError(
                f"num_channels: expected an even number of 2 or more, for two halves, got "
                f"{num_channels}."
            )
        self.map, half = map, num_channels // 2
        start = map.start()
        self.start = None
        if start is not None:
            self.start = nn.Parameter(start[:, None, None, None].repeat(1, half, 1, 1))
        width = map.num_parameters * half
        self.net: nn.Module = call("net", net, half, width, context_channels=context_channels)
        check_kind("net", self.net, nn.Module)

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        passive, active = x.chunk(2, 1)
        active, log_derivative = self.map.forward(active, self._map_parameters(passive, context))
        return torch.cat([passive, active], 1), sum_per_sample(log_derivative)

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        passive, active = z.chunk(2, 1)
        active = self.map.inverse(active, self._map_parameters(passive, context))
        return torch.cat([passive, active], 1)

    def at_bound(self, x: Tensor, context: Context | None = None) -> Tensor | None:
        """Where the scale of a transformed value is at its bound, (B, C / 2, H, W), or None.

        x is what the coupling is applied to, (B, C, H, W).
        """
        passive, _ = x.chunk(2, 1)
        return self.map.at_bound(self._map_parameters(passive, context))

    def _map_parameters(self, passive: Tensor, context: Context | None) -> Tensor:
        """The map's parameters for every value of the other half: (k, B, C / 2, H, W)."""
        return guided(partial(self._read, passive), context, self.map.beyond)

    def _read(self, passive: Tensor, context: Context | None) -> Tensor:
        """What the net gives for :meth:`_map_parameters` under one context."""
        features = self.net(passive, context).to(passive.dtype)
        if self.start is not None:
            features = features + self.start.flatten(0, 1)
        return parameters_first(features, self.map.num_parameters, dim=1)

    def extra_repr(self) -> str:
        return str(self.map)


class AffineCoupling(Coupling):
    """``z_b = x_b exp(s) + t``, with (t, s) read from x_a; see :class:`AffineMap`.

    Args:
        num_channels, net, context_channels: as for every :class:`Coupling`.
    """

    def __init__(
        self, num_channels: int, net: NetFactory = ConvNet, context_channels: int = 0
    ) -> None:
        super().__init__(num_channels, AffineMap(), net, context_channels)


class AdditiveCoupling(Coupling):
    """``z_b = x_b + t``, with t read from x_a; volume is kept: log_det is 0.

    Args:
        num_channels, net, context_channels: as for every :class:`Coupling`.
    """

    def __init__(
        self, num_channels: int, net: NetFactory = ConvNet, context_channels: int = 0
    ) -> None:
        super().__init__(num_channels, AdditiveMap(), net, context_channels)


class MixLogCDFCoupling(Coupling):
    """``z_b = logit(F(x_b)) exp(a) + b``, F the CDF of a mixture of logistics, read from x_a.

    Args:
        num_channels, net, context_channels: as for every :class:`Coupling`.
        num_components, largest_log_scale: of the mixture; see :class:`MixtureCDFMap`.
    """

    def __init__(
        self,
        num_channels: int,
        num_components: int = 8,
        net: NetFactory = ConvNet,
        context_channels: int = 0,
        largest_log_scale: float = 3.0,
    ) -> None:
        map = MixtureCDFMap(num_components, largest_log_scale)
        super().__init__(num_channels, map, net, context_channels)
