"""Where an attention of a model looks, asked at a place of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from attnflow.errors import AttnFlowError, check_choice
from attnflow.explore.opened import Opened
from attnflow.models.image_model import Batch
from attnflow.pictures.attention import AttentionMap, attention_maps, heat
from attnflow.pictures.sheet import as_colours, enlarged

__all__ = ["MIDDLE", "Look", "Place", "layers", "look", "place_of", "shown_image"]

Place = tuple[float, float]  # row and column as fractions of an image's sides

SIDE = 384  # pixels that a shown image has, or a little more
MIDDLE = (0.5, 0.5)


@dataclass(frozen=True)
class Look:
    """The weights of one attention over an image.

    Attributes:
        picture: them as colours, with a frame around what asks, (3, H', W') in [0, 1].
        words: which place asks, and which weights the darkest and the brightest colour are.
    """

    picture: Tensor
    words: str


def layers(opened: Opened, batch: Batch) -> list[str]:
    """The attentions of a model, and their heads, in forward order.

    Raises:
        AttnFlowError: it has none.
    """
    names = list(map(name_of, attention_maps(opened.model, batch, (MIDDLE,))))
    if not names:
        raise AttnFlowError(f"{opened.name}: expected a model with attention, got one without.")
    return names


def look(opened: Opened, batch: Batch, layer: str, place: Place = MIDDLE) -> Look:
    """Where an attention looks from a place of an image.

    Args:
        batch: of one image, where the model is.
        layer: one of :func:`layers`.
        place: row and column as fractions of the sides, from 0 to 1; the nearest token is asked.

    Raises:
        AttnFlowError: no such layer, or no such place.
    """
    if not all(0 <= each <= 1 for each in place):
        raise AttnFlowError(f"place: expected fractions of the image's sides, got {place}.")
    inside = min(place[0], 1 - 1e-6), min(place[1], 1 - 1e-6)
    maps = {name_of(each): each for each in attention_maps(opened.model, batch, (inside,))}
    check_choice("layer", layer, maps)
    chosen = maps[layer]
    picture = heat(chosen, shown_image(opened, batch)[None], 1)[0]
    return Look(picture, told(chosen))


def shown_image(opened: Opened, batch: Batch) -> Tensor:
    """The image of a batch of one, as the flow sees it, large enough to click on: (3, H', W')."""
    return enlarged(as_colours(batch["image"], opened.spec.num_bins), SIDE)[0]


def place_of(opened: Opened, row: int, column: int) -> Place:
    """The place of a pixel of :func:`shown_image`."""
    _, height, width = opened.model.image_shape
    factor = math.ceil(SIDE / min(height, width))
    return row / (height * factor), column / (width * factor)


def name_of(each: AttentionMap) -> str:
    """The place of an attention in one line."""
    return each.title.replace("\n", ", ")


def told(each: AttentionMap) -> str:
    """What a picture shows, in a sentence."""
    lowest, highest = each.range
    scale = f"the darkest colour is a weight of {lowest:.2f}, the brightest {highest:.2f}"
    if each.tokens is None:
        return f"One weight for every position, whichever place asks: {scale}."
    row, column = each.tokens[0].tolist()
    height, width = each.weights.shape[2:]
    return f"Token {row}, {column} of {height} x {width} (framed) asks: {scale}; grey is not read."
