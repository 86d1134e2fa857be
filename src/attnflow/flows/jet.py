"""Jet: couplings of patch tokens by vision transformers, with invertible attention where placed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import cycle, product

from attnflow.errors import check_count
from attnflow.flows.inputs import check_image_shape
from attnflow.flows.parts import CONDITIONABLE, Parts, TransformFactory, context_widths
from attnflow.flows.placement import Placement, as_placements, positions_around
from attnflow.flows.single_scale import SingleScale, token_shape
from attnflow.nets import ViT
from attnflow.transforms import (
    ActNorm,
    AffineCoupling,
    Composition,
    InvertibleConv1x1,
    SpatialCoupling,
    Squeeze,
    Transform,
)
from attnflow.transforms.spatial import SPLITS
from attnflow.utils.arguments import call

__all__ = ["Jet"]

# The transforms of a step, in forward order.
STEP = ("actnorm", "conv1x1", "coupling")
VIT_COUPLING = partial(AffineCoupling, net=ViT)


class Jet(SingleScale):
    """``x -> patches -> [actnorm -> 1x1 conv -> coupling] x steps -> z``.

    Kolesnikov et al., Jet: A Modern Transformer-Based Normalizing Flow (2024). Most couplings
    split the channels of a token, some the positions. Their steps have no normalisation
    (``actnorm=None``), and fixed permutations of channels for the 1x1 convolution.

    Every argument that makes transforms is called with the numbers of the place where the
    transform will stand:

    - ``coupling(num_channels, context_channels=)``
    - ``attention(num_channels, parity=, image_size=, context_channels=)``
    - ``actnorm(num_channels, context_channels=)``, and the same for ``conv1x1``

    Args:
        image_shape: (C, H, W) of an image.
        patch_size: p, the side of a token; a divisor of both sides. A token's C p p channels must
            be even.
        steps: how many couplings.
        spatial_every: one in so many couplings splits the positions, by a checkerboard, by
            columns and by rows in turn, and the other half next time; 0 for none.
        coupling: makes the couplings.
        attention: makes an attention, or None for a flow without.
        placement: where attention stands, in steps of level 0.
        actnorm, conv1x1: make the other transforms; None for none.
        context_channels: width of the condition; 0 for an unconditional flow.
        conditions: which transforms read the condition, of
            :data:`~attnflow.flows.parts.CONDITIONABLE`; those that this flow has.
        memory: what training keeps for the gradients, as of :class:`~attnflow.flows.Glow`.

    Raises:
        AttnFlowError: sizes, placement or attention that do not fit the images.

    Example:
        >>> flow = Jet((1, 8, 8), patch_size=2, steps=4)
        >>> flow.log_prob(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5])
    """

    POSITIONS = positions_around(STEP)

    def __init__(
        self,
        image_shape: Sequence[int],
        patch_size: int = 2,
        steps: int = 8,
        spatial_every: int = 5,
        coupling: TransformFactory = VIT_COUPLING,
        attention: TransformFactory | None = None,
        placement: str | Placement | Sequence[str | Placement] = "after_coupling",
        actnorm: TransformFactory | None = ActNorm,
        conv1x1: TransformFactory | None = InvertibleConv1x1,
        context_channels: int = 0,
        conditions: Sequence[str] = CONDITIONABLE,
        memory: str = "none",
    ) -> None:
        check_count("steps", steps)
        check_count("spatial_every", spatial_every, least=0)
        parts = Parts(
            {
                "actnorm": actnorm,
                "conv1x1": conv1x1,
                "coupling": partial(split_coupling, coupling),
                "attention": attention,
            },
            context_widths((*STEP, "attention"), context_channels, conditions),
            as_placements(placement, self.POSITIONS, num_levels=1),
            steps,
        )
        shape = token_shape(check_image_shape(image_shape), patch_size)
        spatial = cycle((split, parity) for parity, split in product((0, 1), SPLITS))
        made: dict[str, Transform] = {"patches": Squeeze(patch_size)}
        for step in range(steps):
            is_spatial = spatial_every > 0 and (step + 1) % spatial_every == 0
            place = {"image_size": shape[1:], "split": next(spatial) if is_spatial else None}
            made[f"step_{step}"] = parts.step(STEP, shape, 0, step, coupling=place)
        super().__init__(image_shape, Composition(made), patch_size, context_channels, memory)


def split_coupling(
    coupling: TransformFactory,
    num_channels: int,
    image_size: Sequence[int],
    split: tuple[str, int] | None,
    context_channels: int,
) -> Transform:
    """A coupling of channels, or of positions by a split and which half of it comes first."""
    if split is None:
        return call("coupling", coupling, num_channels, context_channels=context_channels)
    name, parity = split
    return SpatialCoupling(num_channels, image_size, coupling, name, parity, context_channels)
