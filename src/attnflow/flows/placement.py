"""Where attention stands in a flow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from attnflow.errors import AttnFlowError, check_choice

__all__ = ["POSITIONS", "STEP_POSITIONS", "Placement", "several"]

STEP_POSITIONS = ("before_actnorm", "after_actnorm", "after_conv1x1", "after_coupling")
POSITIONS = (*STEP_POSITIONS, "level_end")


@dataclass(frozen=True)
class Placement:
    """The positions, levels and steps at which a flow holds an attention.

    Attributes:
        positions: one of :data:`POSITIONS` or several; the four step positions are named by
            what they stand before or after, ``level_end`` comes after a level's last step.
        levels: ``all``, or the levels' numbers, from 0.
        steps: ``all``, ``first``, ``last`` or ``every N`` (the last of each N steps);
            ``level_end`` does not look at it.
    """

    positions: str | Sequence[str] = "after_coupling"
    levels: str | Sequence[int] = "all"
    steps: str = "all"

    def __post_init__(self) -> None:
        names = [self.positions] if isinstance(self.positions, str) else self.positions
        if not isinstance(names, Sequence):
            raise AttnFlowError(
                f"placement positions: expected one of {', '.join(POSITIONS)} or a list of these, "
                f"got {self.positions!r}."
            )
        for name in names:
            check_choice("placement position", name, POSITIONS)
        object.__setattr__(self, "positions", tuple(names))
        if self.levels != "all":
            listed = isinstance(self.levels, Sequence) and not isinstance(self.levels, str)
            if not listed or not all(type(level) is int for level in self.levels):
                raise AttnFlowError(
                    f"placement levels are {self.levels!r}; 'all' or a list of level numbers, "
                    "from 0, is accepted."
                )
            object.__setattr__(self, "levels", tuple(self.levels))
        if self.steps not in ("all", "first", "last") and not self._every():
            raise AttnFlowError(
                f"placement steps are {self.steps!r}; accepted are all, first, last and "
                "'every N' with N of 1 or more."
            )

    def _every(self) -> int:
        match = re.fullmatch(r"every[ _](\d+)", str(self.steps))
        return int(match[1]) if match else 0

    def check_levels(self, num_levels: int) -> None:
        """Raise :class:`AttnFlowError` where a level is named that the flow does not have."""
        if self.levels != "all" and not set(self.levels) <= set(range(num_levels)):
            raise AttnFlowError(
                f"placement levels are {list(self.levels)}, but the flow has {num_levels} "
                f"levels; numbers from 0 to {num_levels - 1} are accepted."
            )

    def selects(self, position: str, level: int, step: int, num_steps: int) -> bool:
        """Whether an attention stands at ``position`` of this step of this level."""
        if position not in self.positions or not (self.levels == "all" or level in self.levels):
            return False
        if position == "level_end" or self.steps == "all":
            return True
        if self.steps == "first":
            return step == 0
        if self.steps == "last":
            return step == num_steps - 1
        return (step + 1) % self._every() == 0


def several(placements: Sequence[Placement]) -> tuple[Placement, ...]:
    """A flow with attention wherever any of ``placements`` puts one (for configs)."""
    return tuple(placements)
