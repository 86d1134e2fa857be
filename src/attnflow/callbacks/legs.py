"""The legs of a run, each an uninterrupted training, and their time."""

from __future__ import annotations

import time
from collections.abc import Mapping

from lightning.pytorch.callbacks import Callback

__all__ = ["Legs"]


class Legs(Callback):
    """Counts the legs of a run, each an uninterrupted training, and adds up their seconds.

    What a killed leg did after its last checkpoint is not part of the run, nor are its seconds.

    Args:
        started: when this leg began, by :func:`time.perf_counter`.

    Attributes:
        number: of this leg, from 1.
    """

    def __init__(self, started: float) -> None:
        self.started, self.earlier, self.number = started, 0.0, 1

    @property
    def wall_seconds(self) -> float:
        """The time of all legs of the run up to now."""
        return self.earlier + time.perf_counter() - self.started

    def state_dict(self) -> dict[str, float]:
        return {"wall_seconds": self.wall_seconds, "legs": self.number}

    def load_state_dict(self, state_dict: Mapping[str, float]) -> None:
        self.earlier = state_dict["wall_seconds"]
        self.number = int(state_dict["legs"]) + 1
