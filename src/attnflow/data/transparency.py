"""Composition of transparent images over a background colour."""

from __future__ import annotations

from PIL import Image, ImageColor

from attnflow.errors import AttnFlowError

__all__ = ["WHITE", "Colour", "opaque", "parse_background", "scale_transparent_grey"]

Colour = tuple[int, int, int]  # R, G, B
WHITE: Colour = (255, 255, 255)
GREY_MODES = ("1", "L", "LA", "La")
# Colours that were multiplied by alpha, and the modes of the colours themselves.
PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}


def opaque(image: Image.Image, background: Colour = WHITE) -> Image.Image:
    """An image of mode L (grey), RGB, or CMYK as it is; transparent ones over ``background``.

    Transparent are an alpha channel, and a colour or palette entries that a PNG or GIF declares
    to be so. Of a grey image, the background is the colour's grey value.
    """
    if image.mode == "CMYK":
        return image
    kind = "L" if image.mode in GREY_MODES else "RGB"
    if image.mode in PREMULTIPLIED:
        image = image.convert(PREMULTIPLIED[image.mode])
    if image.has_transparency_data:
        under = Image.new("RGBA", image.size, background)
        image = Image.alpha_composite(under, image.convert("RGBA"))
    return image.convert(kind)


def scale_transparent_grey(image: Image.Image, bits: int) -> None:
    """Scale the grey value that a PNG of 2 or 4 bits a pixel declares to be transparent.

    Pillow scales the pixels to 0 .. 255 and leaves that value as it is, so that it finds none.
    """
    value = image.info.get("transparency")
    if image.format == "PNG" and image.mode == "L" and bits < 8 and isinstance(value, int):
        most = 2**bits - 1
        if value <= most:
            image.info["transparency"] = value * 255 // most


def parse_background(background: str | int) -> Colour:
    """The colour that an option names: a name or code that Pillow knows, or a grey value.

    Raises:
        AttnFlowError: neither.
    """
    try:
        if isinstance(background, str):
            colour = ImageColor.getrgb(background)
            if len(colour) == 3:
                return colour
        if type(background) is int and 0 <= background <= 255:
            return background, background, background
    except ValueError:
        pass
    raise AttnFlowError(
        f"data.background: expected the name of a colour, a code such as '#ff8800', or a grey "
        f"value from 0 to 255, got {background!r}."
    )
