"""One image file as a uint8 tensor: upright, opaque, of 8 bits a value and of one frame."""

from __future__ import annotations

import logging
import math
import re
from functools import cache
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from attnflow.data.depth import HEADER_BYTES, bits_per_value
from attnflow.data.finding import shown
from attnflow.data.transparency import WHITE, Colour, opaque, scale_transparent_grey
from attnflow.errors import AttnFlowError

__all__ = [
    "CorruptImage",
    "as_mode",
    "as_tensor",
    "decode",
    "fit",
    "formats",
    "image_suffixes",
    "open_image",
    "read_image",
    "size_of",
]

MODES = {1: "L", 3: "RGB"}
NAMES = {1: "grey", 3: "colour"}
# Formats that Pillow decodes itself, with a known depth and number of frames. Others are drawn by
# another program (EPS), hold one picture in several sizes (ICO) or no 8-bit pixels.
FORMATS = (
    *("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "QOI", "SGI"),
    *("SUN", "TGA", "TIFF", "WEBP"),
)

# Pillow tells much at the level of debugging, of every file.
logging.getLogger("PIL").setLevel(logging.INFO)


class CorruptImage(AttnFlowError):
    """An image file that cannot be decoded."""


@cache
def formats() -> tuple[str, ...]:
    """Return those of :data:`FORMATS` that the installed Pillow reads."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@cache
def image_suffixes() -> frozenset[str]:
    """The suffixes of files that are read, in lower case: ``.png``, ``.jpg``, ..."""
    known = Image.registered_extensions().items()
    return frozenset(suffix for suffix, name in known if name in (*formats(), "MPO"))


def decode(file: Path, channels: int, convert: bool = False, background: Colour = WHITE) -> Tensor:
    """One image file: uint8, (channels, H, W), upright.

    Args:
        file: of one of :data:`FORMATS`, whatever its suffix.
        channels: 1 or 3.
        convert: accept grey for colour, colour for grey and CMYK for both, and convert.
        background: (R, G, B), which a transparent image is laid over.

    Raises:
        CorruptImage: the file is damaged or truncated.
        AttnFlowError: as for :func:`open_image` and :func:`as_tensor`.
    """
    return as_tensor(open_image(file, background), channels, convert, shown(file))


def open_image(file: Path, background: Colour = WHITE) -> Image.Image:
    """One image file, upright and opaque, of mode L (grey), RGB or CMYK.

    Raises:
        CorruptImage: the file is damaged or truncated.
        AttnFlowError: the file may not be read; it has more than 8 bits a value, which would lose
            its brighter values, or several frames, or colours of another kind.
    """
    try:
        opened = file.open("rb")
    except OSError as error:
        raise AttnFlowError(
            f"{shown(file)}: expected a file that may be read, got '{error.strerror}'."
        ) from error
    with opened:
        return read_image(opened, shown(file), background)


def read_image(opened: BinaryIO, name: str, background: Colour = WHITE) -> Image.Image:
    """The image in an open file, or in bytes, as :func:`open_image` reads it; ``name`` for errors.

    Raises:
        CorruptImage, AttnFlowError: as for :func:`open_image`.
    """
    try:
        header = opened.read(HEADER_BYTES)
        opened.seek(0)
        image = Image.open(opened, formats=formats())
        check_pixels(image, header, name)
        check_no_second(image, opened, name)
        scale_transparent_grey(image, bits_per_value(image, header))
        return opaque(ImageOps.exif_transpose(image), background)  # which loads it too
    except AttnFlowError:
        raise
    except Exception as error:  # of a damaged file, its reader can raise anything
        raise unreadable(name, error) from error


def check_pixels(image: Image.Image, header: bytes, name: str) -> None:
    """Raise :class:`AttnFlowError` for an image whose pixels would be cut, mixed up or left out."""
    if 0 in image.size:
        raise CorruptImage(f"{name}: expected a readable image, got one without pixels.")
    # An MPO is one photograph, with previews of itself.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise AttnFlowError(
            f"{name}: expected one image, got {getattr(image, 'n_frames', 'several')} frames."
        )
    bits = bits_per_value(image, header)
    if bits > 8:
        raise AttnFlowError(
            f"{name}: expected 8 bits a grey value or fewer, got {bits} (mode {image.mode})."
        )
    if image.mode in ("LAB", "HSV"):
        raise AttnFlowError(
            f"{name}: expected a grey, RGB or palette image, got colours of mode {image.mode}."
        )


def check_no_second(image: ImageFile.ImageFile, opened: BinaryIO, name: str) -> None:
    """Raise :class:`AttnFlowError` where another image follows in a binary PPM, PGM or PBM file.

    Pillow knows of the first alone. An image that is opened, not loaded, tells where it begins.
    """
    if image.format != "PPM" or image.tile[0][0] == "ppm_plain":
        return
    bits = 1 if image.mode == "1" else 8 * len(image.getbands())
    opened.seek(image.tile[0][2] + image.height * math.ceil(image.width * bits / 8))
    if re.match(rb"\s*P[1-7]\s", opened.read(16)):
        raise AttnFlowError(f"{name}: expected one image, got several.")


def as_tensor(
    image: Image.Image, channels: int, convert: bool, name: str, option: str = "data.channels"
) -> Tensor:
    """An image of :func:`open_image` as uint8, (channels, H, W); arguments of :func:`as_mode`."""
    return F.pil_to_tensor(as_mode(image, channels, convert, name, option))


def as_mode(
    image: Image.Image, channels: int, convert: bool, name: str, option: str = "data.channels"
) -> Image.Image:
    """An image of :func:`open_image` in mode L, grey, or RGB.

    Args:
        image: of mode L, RGB or CMYK.
        channels, convert: as for :func:`decode`.
        name: of the image, for the message.
        option: that ``channels`` comes from, for the message.

    Raises:
        AttnFlowError: grey where colour is expected, the other way round, or CMYK, which only
            ``convert`` makes RGB (by Pillow's formula, without the colour profile).
    """
    if image.mode == "CMYK":
        if not convert:
            raise AttnFlowError(
                f"{name}: expected an RGB or grey image, or data.convert=true to convert, got a "
                "CMYK one."
            )
        image = image.convert("RGB")
    found = 1 if image.mode == "L" else 3
    if found != channels and not convert:
        raise AttnFlowError(
            f"{name}: expected a {NAMES[channels]} image, {option}={found}, or data.convert=true "
            f"to convert, got a {NAMES[found]} one."
        )
    return image.convert(MODES[channels])


def size_of(file: Path) -> tuple[int, int]:
    """(height, width) of an image file, upright; raises what :func:`open_image` does."""
    image = open_image(file)
    return image.height, image.width


def unreadable(name: str, error: Exception) -> CorruptImage:
    """The error of an image that ``error`` stopped from being decoded."""
    reason = str(error).split("\n")[0] or type(error).__name__
    if isinstance(error, UnidentifiedImageError):  # its words name an open file of Python's
        reason = "of no format that is read here"
    return CorruptImage(
        f"{name}: expected a readable image, got one that is damaged or truncated "
        f"({reason}; data.skip_corrupt=true leaves such files out)."
    )


def fit(
    image: Tensor,
    size: tuple[int, int],
    interpolation: InterpolationMode = InterpolationMode.BILINEAR,
) -> Tensor:
    """Scale (C, H, W) until it just covers ``size`` (height, width), then cut its centre."""
    height, width = image.shape[1:]
    scale = max(size[0] / height, size[1] / width)
    scaled = [max(round(height * scale), size[0]), max(round(width * scale), size[1])]
    resized = F.resize(image, scaled, interpolation, antialias=True)
    return F.center_crop(resized, list(size))
