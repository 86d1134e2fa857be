"""Masks, which mark the half of an image that an attention reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attnflow.errors import AttnFlowError, check_choice

__all__ = ["MASKS", "attention_mask"]

MASKS = ("checkerboard", "coarse", "channel", "spatial")
COARSE_FIELD = 2  # side of a field of the coarse checkerboard


def attention_mask(mask: str, parity: int, shape: Sequence[int]) -> Tensor:
    """The mask M of one image: True where the attention reads, False where it transforms.

    - ``checkerboard``: ``M[c, i, j] = (c + i + j + parity) mod 2``;
    - ``coarse``: a checkerboard with fields of 2 x 2 positions in every channel,
      ``M[c, i, j] = (c + i // 2 + j // 2 + parity) mod 2``, which parts positions whose
      distance is even;
    - ``channel``: half of the channels, the first half for parity 0;
    - ``spatial``: the checkerboard of channel 0 in every channel.

    Args:
        mask: one of :data:`MASKS`.
        parity: 0 or 1; the two masks are each other's complement.
        shape: (C, H, W).

    Returns:
        bool, (C, H, W), on the CPU.

    Raises:
        AttnFlowError: an unknown mask or parity, or a mask that leaves nothing to read
            or nothing to transform at this shape.
    """
    check_choice("mask", mask, MASKS)
    check_choice("parity", parity, (0, 1))
    channels, height, width = shape
    # Built on the CPU whatever the default device, as its values are inspected here.
    with torch.device("cpu"):
        c = torch.arange(channels)[:, None, None]
        i = torch.arange(height)[None, :, None]
        j = torch.arange(width)[None, None, :]
    if mask == "channel":
        read = (c < channels // 2) ^ bool(parity)
    else:
        channel = torch.zeros_like(c) if mask == "spatial" else c
        if mask == "coarse":
            i, j = i // COARSE_FIELD, j // COARSE_FIELD
        read = (channel + i + j + parity) % 2 == 1
    read = read.expand(channels, height, width).contiguous()
    if not read.any() or read.all():
        half = "transform" if read.all() else "read"
        raise AttnFlowError(
            f"mask: expected one that leaves something to {half} in an image of {channels} x "
            f"{height} x {width} values (channels x height x width), got {mask!r} with parity "
            f"{parity}; use another mask, or a level with more channels or positions."
        )
    return read
