"""Checks of a flow's or model's inputs: one sentence with the shape, type and range.

Those of a flow look at shapes and types alone, which costs no synchronisation with a GPU; only
those of whole images, labels and conditions, which no training passes, look at values.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from numbers import Rational, Real
from typing import Any

import torch
from torch import Tensor

from attnflow.context import Context
from attnflow.errors import MOST, AttnFlowError, check_count

__all__ = [
    "as_labels",
    "check_context",
    "check_continuous",
    "check_generator",
    "check_image_shape",
    "check_integers",
    "check_latents",
    "check_temperature",
]

# The integer types that torch.min supports; it does not support uint16, uint32 and uint64.
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def check_image_shape(shape: object) -> tuple[int, int, int]:
    """The shape of an image as a tuple; raises :class:`AttnFlowError` for what is none."""
    if not isinstance(shape, Sequence) or isinstance(shape, str) or len(shape) != 3:
        raise AttnFlowError(
            f"image_shape: expected (channels, height, width), three whole numbers, got {shape!r}."
        )
    for name, value in zip(("channels", "height", "width"), shape, strict=True):
        check_count(f"image_shape's {name}", value)
    return tuple(shape)


def check_generator(value: object) -> None:
    """Raise :class:`AttnFlowError` unless ``value`` is a generator of random numbers, or None."""
    if not isinstance(value, torch.Generator | None):
        raise AttnFlowError(f"generator: expected a torch.Generator or None, got {value!r}.")


def check_temperature(value: Any) -> None:
    """Raise :class:`AttnFlowError` unless ``value`` is a finite number of 0 or more."""
    if not _is_number(value) or not 0 <= value < math.inf:
        raise AttnFlowError(f"temperature: expected a number of 0 or more, got {value!r}.")
    if isinstance(value, Rational) and not value <= MOST:  # which no float may hold
        raise AttnFlowError(f"temperature: expected a number of {MOST} or less, got more.")


def check_continuous(name: str, x: Any, shape: tuple[int, ...], like: Tensor) -> None:
    """Raise :class:`AttnFlowError` unless ``x`` is a batch of continuous values for a flow.

    Args:
        name: of ``x``, for the message.
        x: any object.
        shape: of one sample, (C, H, W).
        like: a parameter of the flow; of its type and on its device ``x`` must be.
    """
    _check_batch(name, x, shape)
    if not x.is_floating_point():
        raise AttnFlowError(
            f"{name}: expected continuous values of {like.dtype}, got {x.dtype}; integer images go "
            "to bits_per_dim and encode of a model of attnflow.load, and to a flow as "
            "(images + u) / num_bins with u uniform in [0, 1)."
        )
    _check_like(name, x, like)


def check_latents(latents: Any, shapes: Sequence[tuple[int, int, int]], like: Tensor) -> None:
    """Raise :class:`AttnFlowError` unless these are the latents of every level, of one batch.

    Args:
        latents: any object.
        shapes: (C, H, W) of each level's latent.
        like: a parameter of the flow.
    """
    expected = f"{len(shapes)} tensors of shapes {', '.join(_words(s) for s in shapes)}"
    if isinstance(latents, Tensor) or not isinstance(latents, Sequence):
        raise AttnFlowError(f"latents: expected {expected}, got {_kind(latents)}.")
    if len(latents) != len(shapes):
        raise AttnFlowError(f"latents: expected {expected}, got {len(latents)}.")
    for level, (latent, shape) in enumerate(zip(latents, shapes, strict=True)):
        check_continuous(f"the latent of level {level}", latent, shape, like)
        if len(latent) != len(latents[0]):
            raise AttnFlowError(
                f"the latent of level {level}: expected {len(latents[0])} rows as of level 0, got "
                f"{len(latent)}."
            )


def check_context(
    context: object, context_channels: int, rows: int, num_maps: int, like: Tensor
) -> None:
    """Raise :class:`AttnFlowError` unless a context is there where, and as, a flow wants it.

    Args:
        context: any object.
        context_channels: of the flow; 0 for one without a condition.
        rows: of the batch.
        num_maps: how many feature maps the flow reads, where the context holds such.
        like: a parameter of the flow.
    """
    if (context is None) != (context_channels == 0):
        wanted = "a Context" if context_channels else "None"
        given = "None" if context is None else "a Context"
        raise AttnFlowError(
            f"the flow's context: expected {wanted} with context_channels={context_channels}, got "
            f"{given}."
        )
    if context is None:
        return
    if not isinstance(context, Context):
        raise AttnFlowError(f"context: expected an attnflow.Context, got {_kind(context)}.")
    if not isinstance(context.maps, Sequence):
        raise AttnFlowError(
            f"context: expected maps as a tuple of tensors, got {_kind(context.maps)}."
        )
    if context.vector is None and not context.maps:
        raise AttnFlowError("context: expected a vector or maps, got a Context of neither.")
    if context.vector is not None:
        _check_condition("the vector of the context", context.vector, ("B", "D"), rows, like)
    for level, features in enumerate(context.maps):
        name = f"the map of level {level} of the context"
        _check_condition(name, features, ("B", "F", "H", "W"), rows, like)
    width = 0 if context.vector is None else context.vector.shape[-1]
    if context.maps and len(context.maps) != num_maps:
        raise AttnFlowError(f"context: expected {num_maps} feature maps, got {len(context.maps)}.")
    widths = {width + features.shape[1] for features in context.maps} or {width}
    if widths != {context_channels}:
        raise AttnFlowError(
            f"context: expected {context_channels} channels, got {', '.join(map(str, widths))}."
        )
    if context.guidance is not None:
        check_context(context.guidance.without, context_channels, rows, num_maps, like)


def check_integers(name: str, values: Any, shape: tuple[int, ...], num_bins: int) -> None:
    """Raise :class:`AttnFlowError` unless ``values`` are a batch of integer images.

    Args:
        name: of the images, for the message.
        values: any object.
        shape: of one image, (C, H, W).
        num_bins: the number of grey values.
    """
    _check_batch(name, values, shape)
    if not _is_integer(values):
        raise AttnFlowError(
            f"{name}: expected whole numbers from 0 to {num_bins - 1} (torch.uint8), got "
            f"{values.dtype}."
        )
    _check_range(name, values, num_bins)


def as_labels(labels: object, rows: int, num_classes: int) -> Tensor:
    """Class numbers of every sample, (rows,), int64, from one number, a list or a tensor.

    Raises:
        AttnFlowError: another number of labels, or others than 0 .. num_classes - 1.
    """
    each = f", or one for each of {rows} samples" if rows > 1 else ""
    expected = f"a class number from 0 to {num_classes - 1}{each}"
    try:
        found = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AttnFlowError(f"label: expected {expected}, got {labels!r}.") from error
    _check_values("label", found)
    if not _is_integer(found):
        of_type = f"{_kind(labels)} of {found.dtype}"
        got = of_type if hasattr(labels, "dtype") else reprlib.repr(labels)
        raise AttnFlowError(f"label: expected {expected}, got {got}.")
    if found.shape not in ((), (1,), (rows,)):
        raise AttnFlowError(f"label: expected {expected}, got the shape {tuple(found.shape)}.")
    _check_range("label", found, num_classes)
    return found.long().expand(rows)


def _check_batch(name: str, values: object, shape: tuple[int, ...]) -> None:
    """Raise unless ``values`` is a tensor (B, *shape) with a sample or more."""
    if not isinstance(values, Tensor):
        raise AttnFlowError(f"{name}: expected a tensor (B, {_words(shape)}), got {_kind(values)}.")
    _check_values(name, values)
    if tuple(values.shape[1:]) != tuple(shape):
        batch = "; a single one has a batch axis of 1 (x[None])" if values.shape == shape else ""
        raise AttnFlowError(
            f"{name}: expected the shape (B, {_words(shape)}), got ({_words(values.shape)}){batch}."
        )
    if not len(values):
        raise AttnFlowError(f"{name}: expected one sample or more, got an empty batch.")


def _check_condition(
    name: str, values: object, axes: tuple[str, ...], rows: int, like: Tensor
) -> None:
    """Raise unless a part of a context has these axes, a row a sample, and a flow's type."""
    expected = f"a tensor ({', '.join(axes)})"
    if not isinstance(values, Tensor):
        raise AttnFlowError(f"{name}: expected {expected}, got {_kind(values)}.")
    _check_values(name, values)
    if values.ndim != len(axes) or 0 in values.shape[1:]:
        raise AttnFlowError(f"{name}: expected {expected}, got ({_words(values.shape)}).")
    if len(values) != rows:
        raise AttnFlowError(
            f"{name}: expected {rows} rows, one for each sample, got {len(values)}."
        )
    _check_like(name, values, like)


def _check_like(name: str, values: Tensor, like: Tensor) -> None:
    """Raise unless values are on the device and of the type of a flow's weights."""
    if values.device != like.device:
        raise AttnFlowError(
            f"{name}: expected values on {like.device}, where the flow is, got {values.device}."
        )
    if values.dtype != like.dtype and not torch.is_autocast_enabled(values.device.type):
        raise AttnFlowError(
            f"{name}: expected {like.dtype} as the flow's weights, got {values.dtype}."
        )


def _check_values(name: str, values: Tensor) -> None:
    """Raise for a tensor that does not hold all of its values one by one."""
    if values.layout != torch.strided or values.is_nested or values.is_quantized:
        raise AttnFlowError(
            f"{name}: expected a dense tensor of values, got a sparse, nested or quantized one."
        )


def _check_range(name: str, values: Tensor, number: int) -> None:
    """Raise unless all values are in 0 .. number - 1."""
    if values.is_meta:
        raise AttnFlowError(f"{name}: expected a dense tensor of values, got a meta one.")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= number:
        got = str(low) if low == high else f"{low} to {high}"
        raise AttnFlowError(f"{name}: expected whole numbers from 0 to {number - 1}, got {got}.")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_integer(values: Tensor) -> bool:
    return values.dtype in INTEGERS


def _words(shape: Sequence[int]) -> str:
    return ", ".join(map(str, shape))


def _kind(value: object) -> str:
    """Describe an object in a word or two."""
    return "None" if value is None else f"a {type(value).__name__}"
