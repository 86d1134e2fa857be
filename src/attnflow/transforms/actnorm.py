"""Activation normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnflow.context import Context, required
from attnflow.nets.layers import zero_conv
from attnflow.transforms.base import Transform, full_precision, log_det_dtype
from attnflow.transforms.guidance import guided
from attnflow.utils.distributed import all_reduce_sum

__all__ = ["ActNorm"]


class ActNorm(Transform):
    """``z = (x + shift) * exp(log_scale)``, one shift and one scale a channel.

    Kingma & Dhariwal, Glow (2018), section 3.1. :meth:`initialize` sets both from the
    mean and the standard deviation of a batch over all ranks; until then the map is
    the identity. With a condition, the shift and the scale of a sample also depend
    (linearly, from zero) on its context: on a vector in every channel, as in Full-Glow, and
    on feature maps at every position, as SRFlow's affine injector (Lugmayr et al., 2020).

    Args:
        num_channels: C of the images.
        context_channels: width of the condition; 0 for none.
    """

    def __init__(self, num_channels: int, context_channels: int = 0) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(num_channels))
        self.log_scale = nn.Parameter(torch.zeros(num_channels))
        self.conditioner: nn.Conv2d | None = None
        if context_channels:
            self.conditioner = zero_conv(context_channels, 2 * num_channels, 1)

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._shift_and_log_scale(x, context)
        z = (x + shift) * log_scale.exp()
        # A scale of all positions counts once for each.
        positions = x.shape[2:].numel() // log_scale.shape[2:].numel()
        log_det = positions * log_scale.sum((1, 2, 3), dtype=log_det_dtype(x))
        return z, log_det.expand(len(x))

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        shift, log_scale = self._shift_and_log_scale(z, context)
        return torch.addcmul(-shift, z, (-log_scale).exp())

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Context | None = None) -> Tensor:
        values = x.double()
        sums = torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))])
        count = values.new_tensor(x.numel() / x.shape[1])
        sums, count = all_reduce_sum(sums), all_reduce_sum(count)
        mean, mean_square = sums / count
        std = (mean_square - mean.square()).clamp_min(1e-12).sqrt()
        # A channel that never varies (a border of a digit) keeps a moderate scale:
        # dividing by its standard deviation would blow up the dequantization noise.
        self.shift.copy_(-mean)
        self.log_scale.copy_(-std.clamp_min(1e-3).log())
        return self(x, context)[0]

    def varies(self, context: Context | None) -> bool:
        """Whether shift and scale differ from position to position in this context."""
        return self.conditioner is not None and bool(required(context).maps)

    def per_channel(self, x: Tensor, context: Context | None) -> tuple[Tensor, Tensor]:
        """Shift and log_scale, (1 or B, C), in a context in which they are the same everywhere."""
        if self.conditioner is None:
            return self.shift[None], self.log_scale[None]
        shift, log_scale = self._shift_and_log_scale(x, context)
        return shift.flatten(1), log_scale.flatten(1)

    def _shift_and_log_scale(self, x: Tensor, context: Context | None) -> tuple[Tensor, Tensor]:
        """Both in this context: (1 or B, C, 1, 1), or (B, C, H, W) where they read maps."""
        shift, log_scale = (p[None, :, None, None] for p in (self.shift, self.log_scale))
        conditioner = self.conditioner
        if conditioner is not None:
            size = x.shape[2:] if self.varies(context) else (1, 1)
            with full_precision(x):
                read = guided(lambda c: conditioner(required(c).as_map(*size)), context)
                moved, scaled = read.chunk(2, 1)
            shift, log_scale = shift + moved, log_scale + scaled.tanh()
        return shift, log_scale

    def extra_repr(self) -> str:
        return f"{len(self.shift)}"
