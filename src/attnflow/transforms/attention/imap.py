"""Map-based invertible attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnflow.context import Context, with_condition
from attnflow.errors import AttnFlowError
from attnflow.transforms.attention.masks import attention_mask, check_mask
from attnflow.transforms.base import Transform, full_precision, sum_per_sample
from attnflow.transforms.pointwise import PointwiseConv

__all__ = ["IMap"]

# A sigmoid of 3 is 0.95: an attention that starts near the identity.
INITIAL_LOGIT = 3.0
# No weight falls below exp(-4), so the inverse amplifies rounding at most 55 times.
LOWEST_LOG_WEIGHT = -4.0


class IMap(Transform):
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
        num_channels: C.
        parity: 0 or 1; alternate it from one attention to the next.
        mask: ``checkerboard``, ``coarse``, ``channel`` or ``spatial``.
        kernel_size: odd side of the convolution that computes the map.
        global_context: add a function of the pooled masked half to the map.
        context_channels: width of the condition that the map may read; 0 for none.
        image_size: (H, W), if known: lets a mask that cannot work fail here.
    """

    def __init__(
        self,
        num_channels: int,
        parity: int = 0,
        mask: str = "checkerboard",
        kernel_size: int = 1,
        global_context: bool = False,
        context_channels: int = 0,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        check_mask(mask, parity)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise AttnFlowError(
                f"IMap's kernel_size is {kernel_size}; an odd number of 1 or more is accepted."
            )
        if image_size is not None:
            attention_mask(mask, parity, (num_channels, *image_size))
        self.mask, self.parity = mask, parity
        self.context_channels = context_channels
        self.scale_logit = nn.Parameter(torch.full((num_channels, 1, 1), INITIAL_LOGIT))
        channels = num_channels + context_channels
        if kernel_size == 1:
            self.map = PointwiseConv(channels, 1)
        else:
            self.map = nn.Conv2d(channels, 1, kernel_size, padding=kernel_size // 2)
        nn.init.constant_(self.map.bias, INITIAL_LOGIT)  # the offset o
        self.global_context = None
        if global_context:
            self.global_context = nn.Sequential(
                nn.Linear(num_channels, num_channels), nn.SiLU(), nn.Linear(num_channels, 1)
            )

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        mask = attention_mask(self.mask, self.parity, x.shape[1:], x.device)
        with full_precision(x):
            log_weight = self._log_weight(x * mask, mask, context)
            return x * log_weight.exp(), sum_per_sample(log_weight)

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        mask = attention_mask(self.mask, self.parity, z.shape[1:], z.device)
        with full_precision(z):
            read = z * mask * (-bounded_logsigmoid(self.scale_logit)).exp()
            return z * (-self._log_weight(read, mask, context)).exp()

    def attention_map(self, x: Tensor, context: Context | None = None) -> Tensor:
        """The weight of the transformed half at every position, in (0, 1): (B, 1, H, W)."""
        mask = attention_mask(self.mask, self.parity, x.shape[1:], x.device)
        with full_precision(x):
            return bounded_logsigmoid(self._map_logit(x * mask, context)).exp()

    def _log_weight(self, read: Tensor, mask: Tensor, context: Context | None) -> Tensor:
        transformed = bounded_logsigmoid(self._map_logit(read, context))
        return torch.where(mask, bounded_logsigmoid(self.scale_logit), transformed)

    def _map_logit(self, read: Tensor, context: Context | None) -> Tensor:
        """a + o: (B, 1, H, W)."""
        logit = self.map(with_condition(read, context, self.context_channels))
        if self.global_context is not None:
            logit = logit + self.global_context(read.mean((2, 3)))[..., None, None]
        return logit

    def extra_repr(self) -> str:
        return f"{len(self.scale_logit)}, mask={self.mask}, parity={self.parity}"


def bounded_logsigmoid(logit: Tensor) -> Tensor:
    """``logsigmoid(logit)``, bent smoothly so that it stays above LOWEST_LOG_WEIGHT."""
    bound = -LOWEST_LOG_WEIGHT
    return bound * torch.tanh(F.logsigmoid(logit) / bound)
