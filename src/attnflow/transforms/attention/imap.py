"""Map-based invertible attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnflow.context import Context, with_condition
from attnflow.errors import AttnFlowError
from attnflow.transforms.attention.base import MaskedTransform
from attnflow.transforms.base import full_precision, sum_per_sample
from attnflow.transforms.maps import bounded
from attnflow.transforms.pointwise import PointwiseLinear

__all__ = ["IMap"]

# A sigmoid of 3 is 0.95: an attention that starts near the identity.
INITIAL_LOGIT = 3.0
# No weight falls below exp(-4), so the inverse amplifies rounding at most 55 times.
LOWEST_LOG_WEIGHT = -4.0


class IMap(MaskedTransform):
    """``z = h * exp(log_w)``, the weights of one half depending on the other half alone.

    ``log_w = (1 - M) * logsigmoid(a(M * h) + o) + M * logsigmoid(s)``

    Generative Flows with Invertible Attentions (2022), the iMap attention: M is the mask,
    s a learned scale for each channel, o a learned offset, and a the attention map (one
    number a position). Averaging the channels of a linear convolution is itself a
    convolution with one output channel, so that is what the module holds for a. The
    Jacobian is diagonal: ``log_det = sum(log_w)``. log_w is bounded below smoothly, so that
    the inverse stays exact in float32.

    The published map (``kernel_size=1``) sees only its own position. A larger kernel, or
    the ``global_context`` of the pooled masked half, lets it see further at no cost in
    invertibility.

    Args:
        num_channels, image_size, parity, mask, context_channels: as for every
            :class:`MaskedTransform`.
        kernel_size: odd side of the convolution that computes the map.
        global_context: add a function of the pooled masked half to the map.

    Example:
        >>> attention = IMap(4, image_size=(8, 8))
        >>> x = torch.randn(2, 4, 8, 8)
        >>> z, log_det = attention(x)
        >>> z.shape, log_det.shape
        (torch.Size([2, 4, 8, 8]), torch.Size([2]))
        >>> torch.allclose(attention.inverse(z), x, atol=1e-4)
        True
    """

    def __init__(
        self,
        num_channels: int,
        image_size: Sequence[int],
        parity: int = 0,
        mask: str = "checkerboard",
        kernel_size: int = 1,
        global_context: bool = False,
        context_channels: int = 0,
    ) -> None:
        super().__init__(num_channels, image_size, parity, mask, context_channels)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise AttnFlowError(
                f"kernel_size: expected an odd number of 1 or more, got {kernel_size}."
            )
        self.scale_logit = nn.Parameter(torch.full((num_channels, 1, 1), INITIAL_LOGIT))
        channels = num_channels + context_channels
        self.map = map_layer(channels, kernel_size)
        self.global_context: nn.Module | None = None
        if global_context:
            self.global_context = nn.Sequential(
                nn.Linear(num_channels, num_channels), nn.SiLU(), nn.Linear(num_channels, 1)
            )

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            log_weight = self._log_weight(self.masked(x), context)
            return x * log_weight.exp(), sum_per_sample(log_weight)

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        with full_precision(z):
            masked = self.masked(z) * (-bounded_logsigmoid(self.scale_logit)).exp()
            return z * (-self._log_weight(masked, context)).exp()

    def attention_map(self, x: Tensor, context: Context | None = None) -> Tensor:
        """The weight of the transformed half at every position, in (0, 1): (B, 1, H, W)."""
        with full_precision(x):
            return bounded_logsigmoid(self._map_logit(self.masked(x), context)).exp()

    def _log_weight(self, masked: Tensor, context: Context | None) -> Tensor:
        """log_w of every value, from M * h: (B, C, H, W)."""
        transformed = bounded_logsigmoid(self._map_logit(masked, context))
        return torch.where(self.mask, bounded_logsigmoid(self.scale_logit), transformed)

    def _map_logit(self, masked: Tensor, context: Context | None) -> Tensor:
        """a + o: (B, 1, H, W)."""
        logit = self.map(with_condition(masked, context, self.context_channels))
        if self.global_context is not None:
            logit = logit + self.global_context(masked.mean((2, 3)))[..., None, None]
        return logit


def map_layer(in_channels: int, kernel_size: int) -> nn.Module:
    """The convolution that computes a; its bias, the offset o, comes last of its parameters."""
    if kernel_size == 1:
        layer = PointwiseLinear(in_channels, 1)
    else:
        layer = nn.Conv2d(in_channels, 1, kernel_size, padding=kernel_size // 2)
    *_, offset = layer.parameters()
    nn.init.constant_(offset, INITIAL_LOGIT)
    return layer


def bounded_logsigmoid(logit: Tensor) -> Tensor:
    """``logsigmoid(logit)``, bent smoothly so that it stays above LOWEST_LOG_WEIGHT."""
    return bounded(F.logsigmoid(logit), -LOWEST_LOG_WEIGHT)
