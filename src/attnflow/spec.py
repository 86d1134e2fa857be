"""The specification of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from attnflow.errors import AttnFlowError

__all__ = ["DataSpec"]

# The number of values of uint8.
MOST_BINS = 256


@dataclass(frozen=True)
class DataSpec:
    """The shape, grey values and classes of a data set, known before any of it is read.

    Attributes:
        image_shape: (C, H, W).
        num_bins: the number of grey values; images hold 0 .. num_bins - 1.
        num_classes: of the labels, or None.
        condition_shape: (C, H, W) of the condition images, or None.
        condition_bins: the number of grey values of the condition images, or None.
        unpadded_shape: (C, H, W) of the original images, where the data set pads them:
            bits/dim are those of the original's dimensions. None: they are not padded.

    Raises:
        AttnFlowError: what is no size, or sizes that contradict one another.
    """

    image_shape: tuple[int, int, int]
    num_bins: int
    num_classes: int | None = None
    condition_shape: tuple[int, int, int] | None = None
    condition_bins: int | None = None
    unpadded_shape: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value, length = getattr(self, field.name), 3 if field.name.endswith("_shape") else 1
            value = list(value) if isinstance(value, tuple) else value
            is_left_out = value is None and field.default is None
            if not is_left_out and not _are_sizes(value if length == 3 else [value], length):
                raise AttnFlowError(
                    f"the data's {field.name}: expected {length} sizes, got {value!r:.80}."
                )
        for name in ("num_bins", "condition_bins"):
            if getattr(self, name) not in (None, *range(2, MOST_BINS + 1)):
                raise AttnFlowError(
                    f"the data's {name}: expected 2 to {MOST_BINS} grey values, got "
                    f"{getattr(self, name)}."
                )
        if (self.condition_shape is None) != (self.condition_bins is None):
            raise AttnFlowError(
                "the data's condition_bins: expected them with condition_shape "
                f"{self.condition_shape}, got {self.condition_bins}."
            )
        if self.unpadded_shape is not None and not _is_within(
            self.unpadded_shape, self.image_shape
        ):
            raise AttnFlowError(
                f"the data's unpadded_shape: expected a part of {tuple(self.image_shape)}, with "
                f"all of its channels, got {tuple(self.unpadded_shape)}."
            )

    def as_dict(self) -> dict[str, object]:
        """Plain values, as a checkpoint holds them."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DataSpec:
        """The inverse of :meth:`as_dict`.

        Raises:
            AttnFlowError: an unknown entry, or what is no size.
        """
        names = [field.name for field in fields(cls)]
        if values.keys() - set(names):
            unknown = sorted(map(str, values.keys() - set(names)))
            raise AttnFlowError(f"the data's spec: expected {', '.join(names)}, got {unknown}.")
        required: dict[str, Any] = dict.fromkeys(names[:2])
        tuples: dict[str, Any] = {
            n: tuple(v) if isinstance(v, list) else v for n, v in values.items()
        }
        return cls(**required | tuples)


def _are_sizes(values: object, length: int) -> bool:
    """Whether ``values`` are so many whole numbers of 1 or more."""
    if not isinstance(values, list | tuple) or len(values) != length:
        return False
    return all(type(value) is int and value > 0 for value in values)


def _is_within(part: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether images (C, H, W) fit into others of as many channels."""
    return part[0] == whole[0] and part[1] <= whole[1] and part[2] <= whole[2]
