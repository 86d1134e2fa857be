"""TarFlow: autoregressive transformers over patches, with invertible attention where placed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

from torch import nn

from attnflow.errors import ArgumentError, check_count
from attnflow.flows.inputs import check_image_shape
from attnflow.flows.parts import CONDITIONABLE, Parts, TransformFactory, context_widths
from attnflow.flows.placement import Placement, as_placements, positions_around
from attnflow.flows.single_scale import SingleScale, token_shape
from attnflow.transforms import (
    ActNorm,
    Autoregressive,
    Centre,
    Composition,
    InvertibleConv1x1,
    Squeeze,
)
from attnflow.transforms.base import Transform
from attnflow.transforms.maps import GreyLevelsMap

__all__ = ["TarFlow"]

# The transforms of a block, in forward order.
BLOCK = ("transformer", "actnorm", "conv1x1")
# What the first block reads of grey levels: which it is, by cycles over them all, up to so many;
# and where in it, by cycles a level.
MOST_CYCLES = 8
CYCLES_A_LEVEL = (1, 2)


class TarFlow(SingleScale):
    """``x -> patches -> [autoregressive transformer -> actnorm -> 1x1 conv] x blocks -> z``.

    Zhai et al., Normalizing Flows are Capable Generative Models (2024). Their blocks have neither
    normalisation nor 1x1 convolution (``actnorm=None, conv1x1=None``), and their map is affine.
    Values are centred first.

    Every argument that makes transforms is called with the numbers of the place where the
    transform will stand:

    - ``transformer(num_channels, image_size=, order=, context_channels=)``, and the first with
      ``map=`` and ``waves=`` where grey levels are given
    - ``attention(num_channels, parity=, image_size=, context_channels=)``
    - ``actnorm(num_channels, context_channels=)``, and the same for ``conv1x1``

    Args:
        image_shape: (C, H, W) of an image.
        patch_size: p, the side of a token; a divisor of both sides.
        blocks: how many.
        grey_levels: L, of the images, or None. With them the first transformer's map is that of a
            distribution over levels (:class:`~attnflow.transforms.maps.GreyLevelsMap`), and it
            reads beside each value the sines and cosines that tell levels from the noise within
            them, as in Kingma et al., Variational Diffusion Models (2021), appendix C. Pays where
            levels are few.
        orders: of the tokens in the blocks, taken in turn: of
            :data:`~attnflow.transforms.autoregressive.ORDERS`.
        transformer: makes the autoregressive transforms.
        attention: makes an attention, or None for a flow without.
        placement: where attention stands, a block being a step of level 0.
        actnorm, conv1x1: make the other transforms; None for none.
        context_channels: width of the condition; 0 for an unconditional flow.
        conditions: which transforms read the condition, of
            :data:`~attnflow.flows.parts.CONDITIONABLE`; those that this flow has.
        memory: what training keeps for the gradients, as of :class:`~attnflow.flows.Glow`.
            ``reversible`` finds the inverse of every block, token by token, in every step.

    Raises:
        AttnFlowError: sizes, placement or attention that do not fit the images.

    Example:
        >>> flow = TarFlow((1, 8, 8), patch_size=2, blocks=2)
        >>> flow.log_prob(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5])
        >>> flow.sample(3, temperature=0.9).shape
        torch.Size([3, 1, 8, 8])
    """

    POSITIONS = positions_around(BLOCK)

    def __init__(
        self,
        image_shape: Sequence[int],
        patch_size: int = 2,
        blocks: int = 6,
        grey_levels: int | None = None,
        orders: Sequence[str] = ("raster", "reversed"),
        transformer: TransformFactory = Autoregressive,
        attention: TransformFactory | None = None,
        placement: str | Placement | Sequence[str | Placement] = "after_transformer",
        actnorm: TransformFactory | None = ActNorm,
        conv1x1: TransformFactory | None = InvertibleConv1x1,
        context_channels: int = 0,
        conditions: Sequence[str] = CONDITIONABLE,
        memory: str = "none",
    ) -> None:
        check_count("blocks", blocks)
        if grey_levels is not None:
            check_count("grey_levels", grey_levels, least=2)
        if isinstance(orders, str) or not orders:
            raise ArgumentError("orders", "a list of one order or more", orders)
        parts = Parts(
            {
                "actnorm": actnorm,
                "conv1x1": conv1x1,
                "transformer": transformer,
                "attention": attention,
            },
            context_widths((*BLOCK, "attention"), context_channels, conditions),
            as_placements(placement, self.POSITIONS, num_levels=1),
            blocks,
        )
        shape = token_shape(check_image_shape(image_shape), patch_size)
        centre = Centre()
        made: dict[str, Transform] = {"patches": Squeeze(patch_size), "centre": centre}
        for block, order in zip(range(blocks), cycle(orders)):
            place: dict[str, Any] = {"image_size": shape[1:], "order": order}
            if grey_levels is not None and block == 0:
                place |= levels_first(grey_levels, centre)
            made[f"block_{block}"] = parts.step(BLOCK, shape, 0, block, transformer=place)
        super().__init__(image_shape, Composition(made), patch_size, context_channels, memory)
        self.grey_levels = grey_levels
        check_reversible(self.transforms, memory)


def levels_first(grey_levels: int, centre: Centre) -> dict[str, Any]:
    """What a transformer is made with that reads centred grey levels, and maps them."""
    low, high = (centre.scale * end for end in (-0.5, 0.5))
    over_all = range(1, min(MOST_CYCLES, grey_levels // 2) + 1)
    cycles = [*over_all, *(each * grey_levels for each in CYCLES_A_LEVEL)]
    waves = [each / centre.scale for each in cycles]
    return {"map": GreyLevelsMap(grey_levels, low, high), "waves": waves}


def check_reversible(transforms: nn.Module, memory: str) -> None:
    """Raise for an inverse that would not be the forward pass's, as its dropout draws otherwise.

    Raises:
        ArgumentError: ``reversible`` with dropout in a block whose tokens come one after the other.
    """
    blocks = [part for part in transforms.modules() if isinstance(part, Autoregressive)]
    drops = any(part.p > 0 for b in blocks for part in b.modules() if isinstance(part, nn.Dropout))
    if memory == "reversible" and drops:
        expected = "none or checkpoint where transformers have dropout, which the inverse redraws"
        raise ArgumentError("memory", expected, memory)
