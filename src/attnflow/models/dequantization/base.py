"""The base of all dequantizers."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from attnflow.errors import check_least

__all__ = ["Dequantizer"]


class Dequantizer(nn.Module):
    """``y = (x + u) / num_bins`` with u in [0, 1)^D drawn from q(u | x).

    ``E[log p(y) - log q(u | x)]`` bounds the log-probability of the integer image x from
    below (Theis et al., 2016; Ho et al., Flow++, 2019), up to the change of units that
    :func:`attnflow.models.bits.bits_per_dim` makes.

    Args:
        num_bins: the number of grey values of a pixel, 2 or more.
        image_shape: (C, H, W).

    Attributes:
        metric: what the figure is called that the density gives: bits/dim of integer images.
    """

    metric = "bpd"

    def __init__(self, num_bins: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        check_least("num_bins", num_bins, 2)
        self.num_bins, self.image_shape = num_bins, tuple(image_shape)

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Integers to continuous values.

        Args:
            x: (B, C, H, W), integers in 0 .. num_bins - 1.
            noise: the same shape, uniform in [0, 1).

        Returns:
            y, (B, C, H, W) in [0, 1), and log q(u | x), (B,), in nats.
        """
        raise NotImplementedError

    def quantize(self, y: Tensor) -> Tensor:
        """Continuous values to integers: the bin that each lies in, the nearest outside [0, 1)."""
        return (y * self.num_bins).floor().nan_to_num(0).clamp(0, self.num_bins - 1).long()

    def restore(self, y: Tensor, log_prob: Callable[[Tensor], Tensor]) -> Tensor:
        """Samples of the flow to integers: those of :meth:`clean` values."""
        return self.quantize(self.clean(y, log_prob))

    def clean(self, y: Tensor, log_prob: Callable[[Tensor], Tensor]) -> Tensor:
        """Samples of the flow without what was added to images besides their place in a bin.

        Args:
            y: (B, C, H, W).
            log_prob: the flow's own, of continuous values under the condition of y; not read
                unless noise is taken away.
        """
        return y

    def extra_repr(self) -> str:
        return f"num_bins={self.num_bins}"
