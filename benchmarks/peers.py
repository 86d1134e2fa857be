"""Density models of other libraries, as modules with ``log_prob(y)`` of y in [0, 1)^D.

Each is set up as its own documentation or examples do, at a size that suits small images.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

__all__ = ["PEERS", "nflows_glow", "normflows_glow"]


class Standardised(nn.Module):
    """A flat density model of standardised pixels.

    Args:
        log_prob: of (B, D) values with mean 0 and deviation 1, in nats.
        sample: draws (n, D) such values.
        network: holds the parameters.
        images: training images in [0, 1), (N, C, H, W), for mean and deviation.
    """

    def __init__(
        self,
        network: nn.Module,
        log_prob: Callable[[Tensor], Tensor],
        sample: Callable[[int], Tensor],
        images: Tensor,
    ) -> None:
        super().__init__()
        self.network = network
        self._log_prob, self._sample = log_prob, sample
        flat = images.flatten(1)
        self.register_buffer("mean", flat.mean(0))
        self.register_buffer("std", flat.std(0))

    def log_prob(self, y: Tensor) -> Tensor:
        flat = (y.flatten(1) - self.mean) / self.std
        return self._log_prob(flat) - self.std.log().sum()

    def sample(self, n: int) -> Tensor:
        return self._sample(n) * self.std + self.mean


def zuko_nsf(images: Tensor) -> nn.Module:
    """zuko's neural spline flow (autoregressive)."""
    import zuko

    dims = math.prod(images.shape[1:])
    flow = zuko.flows.NSF(dims, transforms=3, hidden_features=(256, 256))
    return _zuko(flow, images)


def zuko_maf(images: Tensor) -> nn.Module:
    """zuko's masked autoregressive flow."""
    import zuko

    dims = math.prod(images.shape[1:])
    flow = zuko.flows.MAF(dims, transforms=4, hidden_features=(256, 256))
    return _zuko(flow, images)


def _zuko(flow: nn.Module, images: Tensor) -> nn.Module:
    return Standardised(flow, lambda x: flow().log_prob(x), lambda n: flow().sample((n,)), images)


def nflows_rq_coupling(images: Tensor) -> nn.Module:
    """nflows' rational-quadratic coupling flow with LU-decomposed linear maps."""
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow
    from nflows.nn.nets import ResidualNet
    from nflows.transforms import (
        CompositeTransform,
        LULinear,
        PiecewiseRationalQuadraticCouplingTransform,
    )
    from nflows.utils import create_alternating_binary_mask

    dims = math.prod(images.shape[1:])
    layers = []
    for index in range(6):
        layers.append(LULinear(dims, identity_init=True))
        layers.append(
            PiecewiseRationalQuadraticCouplingTransform(
                create_alternating_binary_mask(dims, even=index % 2 == 0),
                lambda i, o: ResidualNet(
                    i, o, hidden_features=128, num_blocks=2, dropout_probability=0.1
                ),
                num_bins=8,
                tails="linear",
                tail_bound=5.0,
            )
        )
    flow = Flow(CompositeTransform(layers), StandardNormal([dims]))
    return Standardised(flow, flow.log_prob, flow.sample, images)


def normflows_glow(
    images: Tensor, levels: int = 2, steps: int = 8, hidden_channels: int = 64
) -> nn.Module:
    """normflows' Glow, assembled as its Glow example does."""
    import normflows as nf

    channels, height, width = images.shape[1:]
    bases, merges, flows = [], [], []
    for level in range(levels):
        scale = 2 ** (levels - level)
        depth = channels * 2 ** (levels + 1 - level)
        blocks = [
            nf.flows.GlowBlock(depth, hidden_channels, split_mode="channel", scale=True, leaky=0.0)
            for _ in range(steps)
        ]
        flows.append([*blocks, nf.flows.Squeeze()])
        if level > 0:
            merges.append(nf.flows.Merge())
            shape = (depth // 2, height // scale, width // scale)
        else:
            shape = (depth, height // scale, width // scale)
        bases.append(nf.distributions.DiagGaussian(shape))
    return _Glow(nf.MultiscaleFlow(bases, flows, merges))


class _Glow(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def log_prob(self, y: Tensor) -> Tensor:
        return self.network.log_prob(y, None)

    def sample(self, n: int) -> Tensor:
        return self.network.sample(n)[0]


def nflows_glow(images: Tensor, levels: int, steps: int, hidden_channels: int) -> nn.Module:
    """Glow of nflows' own transforms, with Glow's coupling net."""
    from nflows import transforms
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow
    from nflows.utils import create_mid_split_binary_mask

    shape = tuple(images.shape[1:])
    multiscale = transforms.MultiscaleCompositeTransform(levels)
    for _ in range(levels):
        squeeze = transforms.SqueezeTransform()
        shape = squeeze.get_output_shape(*shape)
        layers = [squeeze]
        for _ in range(steps):
            layers += [
                transforms.ActNorm(shape[0]),
                transforms.OneByOneConvolution(shape[0]),
                transforms.AffineCouplingTransform(
                    create_mid_split_binary_mask(shape[0]),
                    lambda i, o: _PlainNet(i, o, hidden_channels),
                ),
            ]
        shape = multiscale.add_transform(transforms.CompositeTransform(layers), shape)
    return Flow(multiscale, StandardNormal([math.prod(images.shape[1:])]))


class _PlainNet(nn.Sequential):
    """Glow's coupling net as nflows calls it."""

    def __init__(self, in_channels: int, out_channels: int, hidden_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, hidden_channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden_channels, hidden_channels, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden_channels, out_channels, 3, padding=1),
        )

    def forward(self, features: Tensor, context: None = None) -> Tensor:
        return super().forward(features)


# The learning rate of each is the one with the lowest validation bits/dim of seed 0 (60 s, or
# 20 s for MAF), among 5e-4, 1e-3 and 2e-3, and up to 8e-3 where 2e-3 was best.
PEERS: dict[str, tuple[Callable[[Tensor], nn.Module], float]] = {
    "zuko NSF": (zuko_nsf, 5e-4),
    "zuko MAF": (zuko_maf, 2e-3),
    "nflows RQ coupling": (nflows_rq_coupling, 2e-3),
    "normflows Glow": (normflows_glow, 8e-3),
}
