"""Reduced bit depth of 8-bit images."""

from __future__ import annotations

from torch import Tensor

from attnflow.errors import ArgumentError

__all__ = ["check_num_bits", "reduce_bits"]


def check_num_bits(num_bits: int, argument: str = "num_bits") -> int:
    """``num_bits``; raises :class:`ArgumentError` unless it is in 1 .. 8."""
    if type(num_bits) is not int or not 1 <= num_bits <= 8:
        raise ArgumentError(argument, "a whole number from 1 to 8", num_bits)
    return num_bits


def reduce_bits(images: Tensor, num_bits: int) -> Tensor:
    """The ``num_bits`` most significant bits of 8-bit images: uint8 in 0 .. 2^num_bits - 1."""
    return images >> (8 - num_bits)
