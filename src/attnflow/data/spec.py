"""What a model must know of its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

__all__ = ["DataSpec"]


@dataclass(frozen=True)
class DataSpec:
    """What a model must know of its data, before any of it is read.

    Attributes:
        image_shape: (C, H, W).
        num_bins: the number of grey values; images hold 0 .. num_bins - 1.
        num_classes: of the labels, or None.
        condition_shape: (C, H, W) of the condition images, or None.
        condition_bins: the number of grey values of the condition images, or None.
        unpadded_shape: (C, H, W) of the original images, where the data set pads them:
            bits/dim are those of the original's dimensions. None: they are not padded.
    """

    image_shape: tuple[int, int, int]
    num_bins: int
    num_classes: int | None = None
    condition_shape: tuple[int, int, int] | None = None
    condition_bins: int | None = None
    unpadded_shape: tuple[int, int, int] | None = None

    def as_dict(self) -> dict[str, object]:
        """Plain values, as a checkpoint holds them."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> DataSpec:
        """The inverse of :meth:`as_dict`."""
        return cls(
            **{n: tuple(v) if isinstance(v, (list, tuple)) else v for n, v in values.items()}
        )
