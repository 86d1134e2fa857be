"""Glow: a flow of levels and steps, with attention wherever its placement says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from attnflow.context import Context
from attnflow.errors import ArgumentError, AttnFlowError, check_choice, check_count
from attnflow.flows.base import Flow, Shape
from attnflow.flows.level import Level
from attnflow.flows.memory import MEMORY
from attnflow.flows.parts import CONDITIONABLE, Parts, TransformFactory, context_widths
from attnflow.flows.placement import Placement, as_placements, positions_around
from attnflow.transforms import (
    ActNorm,
    AffineCoupling,
    Composition,
    InvertibleConv1x1,
    Squeeze,
    Transform,
)
from attnflow.transforms.base import zero_log_det
from attnflow.transforms.priors import SplitGaussianPrior

__all__ = ["Glow"]

# The transforms of a step, in forward order; attention may stand before the first and after each.
STEP = ("actnorm", "conv1x1", "coupling")


class Glow(Flow):
    """``x -> squeeze -> [actnorm -> 1x1 conv -> coupling] x steps -> split -> ... -> z``.

    Glow's multi-scale architecture (Kingma and Dhariwal, 2018), into which Generative Flows with
    Invertible Attentions places attention as a further layer.

    Every argument that makes transforms is called with the numbers of the place where the
    transform will stand, so any class or ``functools.partial`` with these arguments fits:

    - ``attention(num_channels, parity=, image_size=, context_channels=)``
    - ``coupling(num_channels, context_channels=)``
    - ``actnorm(num_channels, context_channels=)``, and the same for ``conv1x1``
    - ``prior(num_channels, kept_channels=, context_channels=)``

    Args:
        image_shape: (C, H, W) of an image.
        levels: L; both sides must be multiples of 2^L.
        steps: K, steps in each level.
        attention: makes an attention, or None for a flow without.
        placement: where attention stands: a :class:`~attnflow.flows.placement.Placement`, the name
            of a position, or a list of these.
        coupling, prior, actnorm, conv1x1: make the other transforms.
        context_channels: width of the condition; 0 for an unconditional flow.
        conditions: which transforms read the condition, of
            :data:`~attnflow.flows.parts.CONDITIONABLE`; those that this flow has.
        memory: what training keeps for the gradients. ``none``: every activation.
            ``checkpoint``: the input of every step. ``reversible``: the output of every level.
            The less is kept, the more is computed again; the gradients are the same.

    Raises:
        AttnFlowError: sizes, placement or attention that do not fit the images.

    Example:
        >>> from functools import partial
        >>> from attnflow.transforms import ITrans
        >>> flow = Glow((3, 16, 16), levels=2, steps=4, attention=partial(ITrans, num_heads=2))
        >>> y = torch.rand(5, 3, 16, 16)
        >>> flow.initialize(y)
        >>> flow.log_prob(y).shape
        torch.Size([5])
        >>> latents = flow.encode(y)
        >>> [tuple(z.shape[1:]) for z in latents]
        [(6, 8, 8), (24, 4, 4)]
        >>> torch.allclose(flow.decode(latents), y, atol=1e-4)
        True
    """

    POSITIONS = (*positions_around(STEP), "level_end")

    def __init__(
        self,
        image_shape: Sequence[int],
        levels: int = 2,
        steps: int = 4,
        attention: TransformFactory | None = None,
        placement: str | Placement | Sequence[str | Placement] = "after_coupling",
        coupling: TransformFactory = AffineCoupling,
        prior: TransformFactory = SplitGaussianPrior,
        actnorm: TransformFactory = ActNorm,
        conv1x1: TransformFactory = InvertibleConv1x1,
        context_channels: int = 0,
        conditions: Sequence[str] = CONDITIONABLE,
        memory: str = "none",
    ) -> None:
        super().__init__(image_shape, context_channels)
        check_choice("memory", memory, MEMORY)
        check_sizes(self.image_shape, levels, steps)
        parts = Parts(
            {
                "actnorm": actnorm,
                "conv1x1": conv1x1,
                "coupling": coupling,
                "attention": attention,
                "prior": prior,
            },
            context_widths((*STEP, "attention", "prior"), context_channels, conditions),
            as_placements(placement, self.POSITIONS, levels),
            steps,
        )
        channels, height, width = self.image_shape
        made: list[Level] = []
        for level in range(levels):
            channels, height, width = 4 * channels, height // 2, width // 2
            transforms = level_transforms(parts, level, (channels, height, width))
            kept = channels // 2 if level < levels - 1 else 0
            latent_prior = parts.make("prior", channels - kept, kept_channels=kept)
            made.append(Level(transforms, latent_prior, kept, "prior" in conditions, memory))
            channels = kept
        self.levels = nn.ModuleList(made)

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[list[Tensor], Tensor]:
        latents, total = [], zero_log_det(x)
        for index, level in enumerate(self._levels()):
            x, latent, log_det = level(x, context and context.at_level(index))
            latents.append(latent)
            total = total + log_det
        return latents, total

    def inverse(self, latents: Sequence[Tensor], context: Context | None = None) -> Tensor:
        x = None
        for index, level in reversed(list(enumerate(self._levels()))):
            x = level.inverse(x, latents[index], context and context.at_level(index))
        return cast(Tensor, x)

    def initialize_parameters(self, x: Tensor, context: Context | None = None) -> None:
        kept: Tensor | None = x
        for index, level in enumerate(self._levels()):
            kept = level.initialize(cast(Tensor, kept), context and context.at_level(index))

    def blocks(self) -> list[Transform]:
        return [block for level in self._levels() for block in level.blocks()]

    def _levels(self) -> list[Level]:
        return cast(list[Level], list(self.levels))

    @property
    def latent_shapes(self) -> list[Shape]:
        channels, height, width = self.image_shape
        shapes = []
        for level in self._levels():
            height, width = height // 2, width // 2
            shapes.append((4 * channels - level.kept_channels, height, width))
            channels = level.kept_channels
        return shapes

    @property
    def map_sizes(self) -> list[tuple[int, int]]:
        return [(height, width) for _, height, width in self.latent_shapes]

    def __repr__(self) -> str:
        parameters = sum(p.numel() for p in self.parameters())
        shape = " x ".join(map(str, self.image_shape))
        lines = [f"Glow({shape}, {parameters:,} parameters)"]
        levels = zip(self._levels(), self.latent_shapes, strict=True)
        for index, (level, (channels, height, width)) in enumerate(levels):
            lines.append(f"  level {index}: {channels + level.kept_channels} x {height} x {width}")
            lines += [f"    {name}: {_outline(t)}" for name, t in level.transforms.named_children()]
            lines.append(f"    prior of {channels} channels: {type(level.prior).__name__}")
        return "\n".join(lines)


def level_transforms(parts: Parts, level: int, shape: Shape) -> Composition:
    """The transforms of a level, on images (C, H, W) that are squeezed already."""
    made: dict[str, Transform] = {"squeeze": Squeeze()}
    for step in range(parts.steps):
        made[f"step_{step}"] = parts.step(STEP, shape, level, step)
    if parts.has_attention("level_end", level, parts.steps):
        made["attention_level_end"] = parts.attention(shape[0], shape[1:])
    return Composition(made)


def check_sizes(image_shape: Shape, levels: int, steps: int) -> None:
    """Raise :class:`AttnFlowError` for no count, or for more levels than an image can be halved."""
    check_count("levels", levels)
    check_count("steps", steps)
    _, height, width = image_shape
    most = halvings(height, width)
    if not most:
        raise AttnFlowError(
            "image_shape: expected even sides, which every level halves (data.size and "
            f"data.padding change them), got {height} x {width}."
        )
    if levels > most:
        raise ArgumentError(
            "levels", f"at most {most}, as often as {height} x {width} can be halved", levels
        )


def halvings(height: int, width: int) -> int:
    """Return how often both sides of an image can be halved without a remainder."""
    sides = math.gcd(height, width)
    return (sides & -sides).bit_length() - 1


def _outline(transform: nn.Module) -> str:
    """A transform in a few words; a step as the sequence of its transforms."""
    if isinstance(transform, Composition):
        return " -> ".join(_outline(child) for child in transform.children())
    details = transform.extra_repr()
    return type(transform).__name__ + (f"({details})" if details else "")
