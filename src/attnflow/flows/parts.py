"""What the steps of a flow are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from torch import nn

from attnflow.errors import ArgumentError, AttnFlowError, check_choice
from attnflow.flows.placement import Placement, positions_around
from attnflow.transforms import Step, Transform
from attnflow.utils.arguments import call, check_kind

__all__ = ["CONDITIONABLE", "Parts", "TransformFactory", "context_widths"]

TransformFactory = Callable[..., Transform]
# What can read a condition, in one flow or another.
CONDITIONABLE = ("actnorm", "conv1x1", "coupling", "transformer", "attention", "prior")


@dataclass
class Parts:
    """Makes the transforms of a flow's steps, each with the numbers of the place where it stands.

    Attributes:
        factories: by the name of what they make; None for what the flow does without.
        context_channels: what each of them reads.
        placements: where attention stands.
        steps: of a level.
        parities: of the attentions to come; they alternate, so that both halves get transformed.
    """

    factories: Mapping[str, TransformFactory | None]
    context_channels: Mapping[str, int]
    placements: Sequence[Placement]
    steps: int
    parities: Iterator[int] = field(default_factory=lambda: cycle((1, 0)))

    def step(
        self,
        names: Sequence[str],
        shape: Sequence[int],
        level: int,
        step: int,
        **places: Mapping[str, Any],
    ) -> Step:
        """One step, with the attentions that stand in it.

        Args:
            names: of its other transforms, in forward order.
            shape: (C, H, W) of the feature map.
            level, step: where the step stands.
            places: by the name of a transform, further numbers that it is called with.
        """
        channels, *image_size = shape
        attentions = {
            f"attention_{position}": self.attention(channels, image_size)
            for position in positions_around(names)
            if self.has_attention(position, level, step)
        }
        made = {
            name: self.make(name, channels, **places.get(name, {}))
            for name in names
            if self.factories[name] is not None
        }
        order = [f"attention_before_{names[0]}"]
        for name in names:
            order += [name, f"attention_after_{name}"]
        transforms = attentions | made
        return Step({name: transforms[name] for name in order if name in transforms})

    def has_attention(self, position: str, level: int, step: int) -> bool:
        """Whether an attention stands at a position."""
        return self.factories["attention"] is not None and any(
            placement.selects(position, level, step, self.steps) for placement in self.placements
        )

    def attention(self, num_channels: int, image_size: Sequence[int]) -> Transform:
        """The next attention."""
        place = {"parity": next(self.parities), "image_size": tuple(image_size)}
        return self.make("attention", num_channels, **place)

    def make(self, part: str, num_channels: int, **place: Any) -> Transform:
        """One of the flow's parts.

        Raises:
            AttnFlowError: its factory cannot be called with the numbers of the place, or makes no
                Transform.
        """
        factory = self.factories[part]
        if isinstance(factory, nn.Module):
            kind = type(factory).__name__
            raise AttnFlowError(
                f"{part}: expected a class or a function that makes one, got a {kind}."
            )
        place["context_channels"] = self.context_channels[part]
        made = call(part, factory, num_channels, **place)
        check_kind(part, made, Transform)
        return made


def context_widths(
    parts: Sequence[str], context_channels: int, conditions: Sequence[str]
) -> dict[str, int]:
    """How wide a condition each of a flow's parts reads.

    Args:
        parts: the flow's, of :data:`CONDITIONABLE`.
        context_channels: width of the flow's condition.
        conditions: which parts read it; those that the flow does not have are left out.

    Raises:
        ArgumentError: a name that no flow has, or names of which this flow has none.
    """
    for name in conditions:
        check_choice("a transform of conditions", name, CONDITIONABLE)
    if context_channels and conditions and not set(conditions) & set(parts):
        raise ArgumentError("conditions", f"one or more of {', '.join(parts)}", list(conditions))
    return {name: context_channels if name in conditions else 0 for name in parts}
