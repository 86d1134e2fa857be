"""Density models to compare with, as modules with ``log_prob(y)`` of y in [0, 1)^D.

Those of other libraries are set up as their own documentation or examples do, at a size that
suits small images. TarFlow, which no package holds, is built in its published form by our class.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from attnflow.flows import TarFlow
from attnflow.nets import CausalTransformer
from attnflow.transforms import Autoregressive, Centre
from attnflow.transforms.maps import GaussianMap

__all__ = ["PEERS", "Peer", "nflows_glow", "normflows_glow"]


@dataclass(frozen=True)
class Peer:
    """How a peer is made, from training images in [0, 1), and trained.

    Attributes:
        make: its maker.
        package: what it is imported from.
        learning_rate, batch_size: that its own validation preferred, where they were looked for.
    """

    make: Callable[[Tensor], nn.Module]
    package: str
    learning_rate: float
    batch_size: int = 64

    @property
    def is_installed(self) -> bool:
        return find_spec(self.package) is not None


class Standardised(nn.Module):
    """A flat density model of standardised pixels.

    Args:
        network: holds the parameters. A copy of this module has its own, so it is an argument
            of the next two.
        log_prob: of a network and (B, D) values with mean 0 and deviation 1, in nats.
        sample: draws (n, D) such values, from a network and n.
        images: training images in [0, 1), (N, C, H, W), for mean and deviation.
    """

    def __init__(
        self,
        network: nn.Module,
        log_prob: Callable[[nn.Module, Tensor], Tensor],
        sample: Callable[[nn.Module, int], Tensor],
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
        return self._log_prob(self.network, flat) - self.std.log().sum()

    def sample(self, n: int) -> Tensor:
        return self._sample(self.network, n) * self.std + self.mean


class Centred(nn.Module):
    """A density model of images in [-1, 1).

    Args:
        network: holds the parameters.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def log_prob(self, y: Tensor) -> Tensor:
        return self.centred_log_prob(2 * y - 1) + y[0].numel() * math.log(2)

    def sample(self, n: int) -> Tensor:
        return (self.centred_sample(n) + 1) / 2

    def centred_log_prob(self, x: Tensor) -> Tensor:
        """Of images (B, C, H, W), in nats: (B,)."""
        raise NotImplementedError

    def centred_sample(self, n: int) -> Tensor:
        """Images (n, C, H, W)."""
        raise NotImplementedError


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
    return Standardised(
        flow,
        lambda network, x: network().log_prob(x),
        lambda network, n: network().sample((n,)),
        images,
    )


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
    return Standardised(
        flow,
        lambda network, x: network.log_prob(x),
        lambda network, n: network.sample(n),
        images,
    )


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


def jet_pytorch(
    images: Tensor, colour_patch: int, layers: int, depth: int, width: int
) -> nn.Module:
    """jet-pytorch's Jet of images in [-1, 1), as its own training has them.

    Args:
        images: to be trained on.
        colour_patch: side of a token of colour images; of grey ones it is 2.
        layers: couplings, of which it splits the positions in one of five.
        depth, width: of each net, with heads of 64.
    """
    from jet_pytorch import Jet

    channels, *size = images.shape[1:]
    patch = colour_patch if channels == 3 else 2
    network = Jet(
        patch_size=patch,
        patch_dim=channels * patch**2,
        n_patches=math.prod(size) // patch**2,
        img_dims=tuple(size),
        coupling_layers=layers,
        block_depth=depth,
        block_width=width,
        num_heads=width // 64,
    )
    return _Jet(network, (math.prod(size) // patch**2, channels * patch**2))


class _Jet(Centred):
    def __init__(self, network: nn.Module, latent_shape: tuple[int, int]) -> None:
        super().__init__(network)
        self.latent_shape = latent_shape

    def centred_log_prob(self, x: Tensor) -> Tensor:
        z, log_det = self.network(x.permute(0, 2, 3, 1))
        normal = torch.distributions.Normal(0, 1)
        return normal.log_prob(z).flatten(1).sum(1) + log_det.squeeze(1)

    def centred_sample(self, n: int) -> Tensor:
        return self.network.inverse(torch.randn(n, *self.latent_shape))[0].permute(0, 3, 1, 2)


def tarflow(images: Tensor, width: int) -> nn.Module:
    """TarFlow in its published form by our class: 4 blocks of 2 layers over patches of 2 x 2.

    ``z = (x - b) exp(-a)``, a as good as unbounded, heads of 64, each token reading the one before
    it alone; no normalisation, no 1x1 convolution, images in [-1, 1). Our first token is moved by
    its place, where theirs passes unchanged.
    """
    net = partial(CausalTransformer, width=width, depth=2, num_heads=width // 64, reach=0)
    transformer = partial(Autoregressive, map=GaussianMap(largest_log_std=10.0), net=net)
    shape = tuple(images.shape[1:])
    return _TarFlow(
        TarFlow(shape, 2, blocks=4, transformer=transformer, actnorm=None, conv1x1=None)
    )


class _TarFlow(Centred):
    """Undoes that our class centres values in [0, 1) by itself."""

    def centred_log_prob(self, x: Tensor) -> Tensor:
        y = Centre().inverse(x)
        return self.network.log_prob(y) - Centre()(y)[1]

    def centred_sample(self, n: int) -> Tensor:
        return Centre()(self.network.sample(n))[0]


# The learning rate of each of zuko and of nflows RQ and normflows Glow is the one with the lowest
# validation bits/dim of seed 0 on the digits (60 s of wall clock, or 20 s for MAF), among 5e-4,
# 1e-3 and 2e-3, and up to 8e-3 where 2e-3 was best. density.py --rates looks for others.
PEERS: dict[str, Peer] = {
    "zuko NSF": Peer(zuko_nsf, "zuko", 5e-4),
    "zuko MAF": Peer(zuko_maf, "zuko", 2e-3),
    "nflows RQ coupling": Peer(nflows_rq_coupling, "nflows", 2e-3),
    "nflows Glow": Peer(
        partial(nflows_glow, levels=2, steps=4, hidden_channels=128), "nflows", 2e-3
    ),
    "normflows Glow": Peer(normflows_glow, "normflows", 8e-3),
    "jet-pytorch, 16 x 2, 192 wide": Peer(
        partial(jet_pytorch, colour_patch=4, layers=16, depth=2, width=192), "jet_pytorch", 1e-3
    ),
    "jet-pytorch, 12 x 1, 128 wide": Peer(
        partial(jet_pytorch, colour_patch=2, layers=12, depth=1, width=128), "jet_pytorch", 1e-3
    ),
    "TarFlow as published, 64 wide (our class)": Peer(partial(tarflow, width=64), "attnflow", 2e-3),
    "TarFlow as published, 128 wide (our class)": Peer(
        partial(tarflow, width=128), "attnflow", 2e-3
    ),
}
