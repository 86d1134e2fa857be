"""A prior that is autoregressive over the channels of a latent."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnflow.context import Context, with_condition
from attnflow.errors import check_least
from attnflow.nets.layers import zero_conv
from attnflow.transforms.base import Transform, sum_per_sample
from attnflow.transforms.guidance import extrapolated, guided, readings
from attnflow.transforms.maps import GaussianMap

__all__ = ["MultiScaleAutoregressivePrior"]


class MultiScaleAutoregressivePrior(Transform):
    """``z_c = (x_c - mean_c) exp(-log_std_c)``, both read from x_1 ... x_{c-1} and the kept half.

    The multi-scale autoregressive prior of mAR-SCF (Mahajan et al., 2020), with another
    recurrence: every channel adds its features to a running sum, and a network of each
    channel's own reads the sum before it (plus the kept half and the condition). A sum can be
    taken over all channels at once, so the density costs one parallel pass; sampling keeps the
    sum and costs one pass a channel, each over that channel alone.

    Args:
        num_channels: C of the latent.
        kept_channels: of the half that the flow keeps; 0 at the last level.
        context_channels: width of the condition; 0 for none.
        hidden_channels: width of the running sum and of each channel's network.
    """

    map = GaussianMap()

    def __init__(
        self,
        num_channels: int,
        kept_channels: int = 0,
        context_channels: int = 0,
        hidden_channels: int = 32,
    ) -> None:
        super().__init__()
        check_least("hidden_channels", hidden_channels, 1)
        self.num_channels = num_channels
        self.read_channels = kept_channels + context_channels
        width = num_channels * hidden_channels
        self.encoder = nn.Conv2d(num_channels, width, 3, padding=1, groups=num_channels)
        self.start = nn.Parameter(torch.zeros(1, hidden_channels, 1, 1))
        self.condition: nn.Conv2d | None = None
        if self.read_channels:
            self.condition = nn.Conv2d(self.read_channels, hidden_channels, 3, padding=1)
        self.hidden = nn.Conv2d(width, width, 1, groups=num_channels)
        self.head = zero_conv(width, 2 * num_channels, 3, groups=num_channels)

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        encoded = F.silu(self.encoder(x)).unflatten(1, (self.num_channels, -1))
        features = guided(partial(self._features, x, encoded), context)
        z, log_derivative = self.map.forward(x, _parameters(features.to(x.dtype)))
        return z, sum_per_sample(log_derivative)

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        states = [self._first_state(z, reading) for reading in readings(context)]
        channels = []
        for c in range(self.num_channels):
            read = [self._features_of_channel(c, state) for state in states]
            parameters = _parameters(extrapolated(read, context).to(z.dtype))
            x = self.map.inverse(z[:, c : c + 1], parameters)
            encoded = F.silu(self._of_channel(self.encoder, c, x))
            states = [state + encoded for state in states]
            channels.append(x)
        return torch.cat(channels, 1)

    def _features(self, x: Tensor, encoded: Tensor, context: Context | None) -> Tensor:
        """The parameters of all channels, (B, 2 C, H, W), of what each adds to the sum."""
        first = self._first_state(x, context).unsqueeze(1)
        states = torch.cat([first, encoded[:, :-1]], 1).cumsum(1)
        return self.head(F.silu(self.hidden(F.silu(states.flatten(1, 2)))))

    def _features_of_channel(self, c: int, state: Tensor) -> Tensor:
        """The parameters of channel c, (B, 2, H, W), of the sum before it."""
        features = F.silu(self._of_channel(self.hidden, c, F.silu(state)))
        return self._of_channel(self.head, c, features)

    def _first_state(self, x: Tensor, context: Context | None) -> Tensor:
        """The running sum before the first channel: (B, hidden, H, W)."""
        start = self.start.expand(len(x), -1, *x.shape[2:])
        if self.condition is None:
            return start
        nothing = x.new_zeros(len(x), 0, *x.shape[2:])
        return start + self.condition(with_condition(nothing, context, self.read_channels))

    def _of_channel(self, conv: nn.Conv2d, c: int, x: Tensor) -> Tensor:
        """Apply the grouped convolution ``conv`` to channel c alone."""
        rows = slice(
            c * conv.out_channels // self.num_channels,
            (c + 1) * conv.out_channels // self.num_channels,
        )
        bias = None if conv.bias is None else conv.bias[rows]
        return F.conv2d(x, conv.weight[rows], bias, padding=conv.padding)

    def extra_repr(self) -> str:
        return f"{self.num_channels}"


def _parameters(features: Tensor) -> Tensor:
    """The map's parameters, (2, B, C, H, W), of a head whose channels (B, 2 C, H, W) are apart."""
    return features.unflatten(1, (-1, 2)).movedim(2, 0)
