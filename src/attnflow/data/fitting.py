"""Images of any size made to fit a data set's, or refused."""

from __future__ import annotations

from torch import Tensor

from attnflow.data.decoding import fit
from attnflow.errors import AttnFlowError

__all__ = ["fitted"]

# How many times the pixels that are kept an image may have, once it is scaled: they need memory.
MOST_LEFT_OUT = 1000


def fitted(image: Tensor, size: tuple[int, int], scale: bool, name: str) -> Tensor:
    """An image (C, H, W) at a data set's size, scaled and centre-cropped.

    Args:
        image: of any size.
        size: (height, width) of the data set's images.
        scale: whether to scale; else the image must have the size.
        name: of the image, for the message.

    Raises:
        AttnFlowError: it has another size, or a form of which next to nothing would be kept.
    """
    if not scale and tuple(image.shape[1:]) != size:
        raise AttnFlowError(
            f"{name}: expected size {size} (height, width), that of the first image, or a "
            f"data.size to scale to, got {tuple(image.shape[1:])}."
        )
    scales = [found / wanted for found, wanted in zip(image.shape[1:], size, strict=True)]
    if max(scales) > MOST_LEFT_OUT * min(scales):
        raise AttnFlowError(
            f"{name}: expected an image whose form is nearer to {size} (height, width), got "
            f"{tuple(image.shape[1:])}, less than a thousandth of which would be kept."
        )
    return fit(image, size)
