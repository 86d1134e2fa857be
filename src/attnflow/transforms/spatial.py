"""Couplings of half of the positions, which any coupling of channels can be turned into."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from attnflow.context import Context
from attnflow.errors import ArgumentError, check_choice
from attnflow.transforms.base import Transform, zero_log_det
from attnflow.utils.arguments import call, check_kind

__all__ = ["SPLITS", "PositionHalves", "SpatialCoupling"]

SPLITS = ("checkerboard", "rows", "columns")


class PositionHalves(Transform):
    """Deals the positions of one half to the first half of the channels, the others to the second.

    Of a position's C channels, one half stays where it is, or takes the place of the position's
    partner in the other half: (B, C, H, W) to the same shape. A permutation of the values, so
    log_det is 0.

    Args:
        num_channels: C, even.
        image_size: (H, W) of the feature map, an even number of positions.
        split: ``checkerboard``, ``rows`` (every second one) or ``columns``.
        parity: 0 or 1, which half comes first.

    Raises:
        ArgumentError: another split, or a feature map without such halves.
    """

    order: Tensor
    places: Tensor

    def __init__(
        self, num_channels: int, image_size: Sequence[int], split: str, parity: int = 0
    ) -> None:
        super().__init__()
        height, width = image_size
        check_choice("split", split, SPLITS)
        if num_channels % 2:
            raise ArgumentError("num_channels", "an even number, for two halves", num_channels)
        first, second = half_positions(height, width, split, parity)
        numbers = torch.arange(num_channels * height * width).view(2, num_channels // 2, -1)
        dealt = torch.empty_like(numbers)
        for half, positions in enumerate((first, second)):
            dealt[half][:, first] = numbers[0][:, positions]
            dealt[half][:, second] = numbers[1][:, positions]
        dealt = dealt.flatten().to(torch.get_default_device())
        self.register_buffer("order", dealt, persistent=False)
        self.register_buffer("places", dealt.argsort(), persistent=False)

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        return x.flatten(1).index_select(1, self.order).view_as(x), zero_log_det(x)

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        return z.flatten(1).index_select(1, self.places).view_as(z)


class SpatialCoupling(Transform):
    """``z = P^-1 coupling(P x)``: P deals half of the positions to half of the channels.

    Kolesnikov et al., Jet (2024), section 3: the net still sees the whole feature map.

    Args:
        num_channels, image_size, split, parity: of P, :class:`PositionHalves`.
        coupling: makes the coupling, called as ``coupling(num_channels, context_channels=...)``.
        context_channels: width of the condition; 0 for none.
    """

    def __init__(
        self,
        num_channels: int,
        image_size: Sequence[int],
        coupling: Callable[..., Transform],
        split: str = "checkerboard",
        parity: int = 0,
        context_channels: int = 0,
    ) -> None:
        super().__init__()
        self.halves = PositionHalves(num_channels, image_size, split, parity)
        self.coupling = call("coupling", coupling, num_channels, context_channels=context_channels)
        check_kind("coupling", self.coupling, Transform)
        self.split, self.parity = split, parity

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        z, log_det = self.coupling(self.halves(x)[0], context)
        return self.halves.inverse(z), log_det

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        return self.halves.inverse(self.coupling.inverse(self.halves(z)[0], context))

    def extra_repr(self) -> str:
        return f"{self.split}, parity={self.parity}"


def half_positions(height: int, width: int, split: str, parity: int) -> tuple[Tensor, Tensor]:
    """The numbers of the positions of either half, row by row: two vectors of one length.

    Raises:
        ArgumentError: the halves differ in length.
    """
    sides = (torch.arange(side, device="cpu") for side in (height, width))  # not the meta device
    rows, columns = torch.meshgrid(*sides, indexing="ij")
    colour = {"checkerboard": rows + columns, "rows": rows, "columns": columns}[split] % 2
    first = (colour.flatten() == parity).nonzero().flatten()
    second = (colour.flatten() != parity).nonzero().flatten()
    if len(first) != len(second):
        expected = f"a feature map whose positions {split} deals into equal halves"
        raise ArgumentError("image_size", expected, f"{height} x {width}")
    return first.to(torch.get_default_device()), second.to(torch.get_default_device())
