"""What a model must know of its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from attnflow.errors import AttnFlowError

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
        """The inverse of :meth:`as_dict`.

        Raises:
            AttnFlowError: an unknown entry, or what is no size.
        """
        names = {field.name: field for field in fields(cls)}
        for name, field in names.items():
            value, length = values.get(name), 3 if name.endswith("_shape") else 1
            sizes = value if length == 3 else [value]
            is_left_out = value is None and field.default is None
            if not is_left_out and not _are_sizes(sizes, length):
                raise AttnFlowError(f"the data's {name}: expected {length} sizes, got {value!r}.")
        if values.keys() - names:
            unknown = sorted(map(str, values.keys() - names))
            raise AttnFlowError(f"the data's spec: expected {', '.join(names)}, got {unknown}.")
        return cls(**{n: tuple(v) if isinstance(v, list) else v for n, v in values.items()})


def _are_sizes(values: object, length: int) -> bool:
    """Whether ``values`` are so many whole numbers of 1 or more."""
    are_listed = isinstance(values, list | tuple) and len(values) == length
    return are_listed and all(type(value) is int and value > 0 for value in values)
