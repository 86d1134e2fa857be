"""The places of attention in a flow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from attnflow.errors import AttnFlowError, check_choice

__all__ = ["Placement", "as_placements", "positions_around", "several"]


@dataclass(frozen=True)
class Placement:
    """The positions, levels and steps at which a flow holds an attention.

    Attributes:
        positions: one of the flow's ``POSITIONS`` or several; those of a step are named by what
            they stand before or after, Glow's ``level_end`` comes after a level's last step.
        levels: ``all``, or the levels' numbers, from 0.
        steps: ``all``, ``first``, ``last`` or ``every N`` (the last of each N steps);
            ``level_end`` does not look at it.

    Example:
        >>> Placement(["after_actnorm", "after_coupling"], levels=[1], steps="every 2").positions
        ('after_actnorm', 'after_coupling')
    """

    positions: str | Sequence[str] = "after_coupling"
    levels: str | Sequence[int] = "all"
    steps: str = "all"

    def __post_init__(self) -> None:
        names = [self.positions] if isinstance(self.positions, str) else self.positions
        if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
            raise AttnFlowError(
                "placement positions: expected the name of a position or a list of names, got "
                f"{self.positions!r}."
            )
        object.__setattr__(self, "positions", tuple(names))
        if self.levels != "all":
            listed = isinstance(self.levels, Sequence) and not isinstance(self.levels, str)
            if not listed or not all(type(level) is int for level in self.levels):
                raise AttnFlowError(
                    "placement levels: expected 'all' or a list of level numbers, from 0, got "
                    f"{self.levels!r}."
                )
            object.__setattr__(self, "levels", tuple(self.levels))
        if self.steps not in ("all", "first", "last") and not self._every():
            raise AttnFlowError(
                "placement steps: expected all, first, last or 'every N' with N of 1 or more, got "
                f"{self.steps!r}."
            )

    def _every(self) -> int:
        match = re.fullmatch(r"every[ _](\d+)", str(self.steps))
        return int(match[1]) if match else 0

    def check(self, positions: Sequence[str], num_levels: int) -> None:
        """Raise :class:`AttnFlowError` for a position or a level that the flow does not have."""
        for name in self.positions:
            check_choice("placement position", name, positions)
        if self.levels != "all" and not set(self.levels) <= set(range(num_levels)):
            raise AttnFlowError(
                f"placement levels: expected numbers from 0 to {num_levels - 1}, as the flow has "
                f"{num_levels} levels, got {list(self.levels)}."
            )

    def selects(self, position: str, level: int, step: int, num_steps: int) -> bool:
        """Whether an attention stands at ``position`` of this step of this level."""
        if position not in self.positions:
            return False
        if not isinstance(self.levels, str) and level not in self.levels:
            return False
        if position == "level_end" or self.steps == "all":
            return True
        if self.steps == "first":
            return step == 0
        if self.steps == "last":
            return step == num_steps - 1
        return (step + 1) % self._every() == 0


def positions_around(names: Sequence[str]) -> tuple[str, ...]:
    """The positions within a step of these transforms: before the first and after each."""
    return (f"before_{names[0]}", *(f"after_{name}" for name in names))


def several(placements: Sequence[Placement]) -> tuple[Placement, ...]:
    """Join placements: attention stands wherever any of them puts one (for configs)."""
    return tuple(placements)


def as_placements(
    placement: str | Placement | Sequence[str | Placement],
    positions: Sequence[str],
    num_levels: int,
) -> tuple[Placement, ...]:
    """The placements of a flow's argument.

    Args:
        placement: one or several.
        positions, num_levels: of the flow.

    Raises:
        AttnFlowError: what is no placement, or names what the flow does not have.
    """
    listed = [placement] if isinstance(placement, str | Placement) else placement
    if not isinstance(listed, Sequence):
        raise AttnFlowError(
            "placement: expected a Placement, the name of a position, or a list of these, got "
            f"{placement!r}."
        )
    placements = tuple(each if isinstance(each, Placement) else Placement(each) for each in listed)
    for each in placements:
        each.check(positions, num_levels)
    return placements
