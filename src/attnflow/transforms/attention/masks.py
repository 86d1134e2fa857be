"""Which half of an image an attention reads, and which half it transforms."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from attnflow.errors import AttnFlowError, check_choice

__all__ = ["MASKS", "attention_mask"]

MASKS = ("checkerboard", "coarse", "channel", "spatial")
COARSE_FIELD = 2  # side of a field of the coarse checkerboard


def attention_mask(
    mask: str, parity: int, shape: tuple[int, int, int], device: torch.device | str = "cpu"
) -> Tensor:
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
        device: where the mask lies.

    Returns:
        bool, (C, H, W). Computed once for each set of arguments: do not write to it.

    Raises:
        AttnFlowError: an unknown mask or parity, or a mask that leaves nothing to read
            or nothing to transform at this shape.
    """
    check_mask(mask, parity)
    return _mask(mask, parity, tuple(shape), str(device))


def check_mask(mask: str, parity: int) -> None:
    """Raise :class:`AttnFlowError` for a mask or a parity that does not exist."""
    check_choice("mask", mask, MASKS)
    check_choice("parity", parity, (0, 1))


@lru_cache(maxsize=256)
def _mask(mask: str, parity: int, shape: tuple[int, int, int], device: str) -> Tensor:
    # Outside inference mode, or a mask made during validation could not take part in
    # the next training step's graph.
    with torch.inference_mode(False):
        channels, height, width = shape
        c = torch.arange(channels, device=device)[:, None, None]
        i = torch.arange(height, device=device)[None, :, None]
        j = torch.arange(width, device=device)[None, None, :]
        if mask == "channel":
            read = ((c < channels // 2) ^ bool(parity)).expand(shape)
        else:
            channel = torch.zeros_like(c) if mask == "spatial" else c
            if mask == "coarse":
                i, j = i // COARSE_FIELD, j // COARSE_FIELD
            read = ((channel + i + j + parity) % 2 == 1).expand(shape)
        read = read.contiguous()
    if not read.any() or read.all():
        half = "transform" if read.all() else "read"
        raise AttnFlowError(
            f"mask {mask!r} with parity {parity} leaves nothing to {half} in an image of "
            f"{channels} x {height} x {width} values (channels x height x width); "
            "use another mask, or a level with more channels or positions."
        )
    return read
