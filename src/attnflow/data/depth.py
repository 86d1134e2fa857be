"""How many bits a grey value of an image file has: Pillow cuts more than 8 without a word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

__all__ = ["HEADER_BYTES", "bits_per_value"]

# The length of the part at a file's start in which its format states the depth.
HEADER_BYTES = 4096
BITS_PER_SAMPLE = 258  # the TIFF tag
CODESTREAM = b"\xff\x4f\xff\x51"  # how JPEG 2000 starts


def bits_per_value(image: Image.Image, header: bytes) -> int:
    """Bits of a grey value, or of one channel of a colour, as the file holds it.

    Args:
        image: just opened, not loaded.
        header: the first :data:`HEADER_BYTES` bytes of its file.
    """
    told = READERS[image.format](image, header) if image.format in READERS else 8
    if image.mode in ("I", "F"):
        return max(told, 32)
    return max(told, 16 if image.mode.startswith("I;16") else 0)


def _of_png(image: Image.Image, header: bytes) -> int:
    return header[24]


def _of_sgi(image: Image.Image, header: bytes) -> int:
    return 8 * header[3]


def _of_tiff(image: TiffImageFile, header: bytes) -> int:
    return max(image.tag_v2.get(BITS_PER_SAMPLE, (1,)))


def _of_ppm(image: ImageFile, header: bytes) -> int:
    """Derive the depth from the largest value, a decoder argument where it is not 255."""
    arguments = image.tile[0][3]
    return arguments[1].bit_length() if isinstance(arguments, tuple) else 8


def _of_jpeg2000(image: Image.Image, header: bytes) -> int:
    """Read the deepest channel's: every third byte after their number holds depth - 1 in 7 bits."""
    start = header.find(CODESTREAM)
    if start < 0:  # behind a long colour profile; the box before that knows it too
        return header[header.index(b"ihdr") + 14] % 128 + 1
    number = int.from_bytes(header[start + 40 : start + 42], "big")
    return max(byte % 128 for byte in header[start + 42 : start + 42 + 3 * number : 3]) + 1


def _of_avif(image: Image.Image, header: bytes) -> int:
    """Read the depth, 8, 10 or 12, from two flags of the codec's configuration."""
    flags = header[header.index(b"av1C") + 6]
    if not flags & 0x40:
        return 8
    return 12 if flags & 0x20 else 10


READERS: dict[str | None, Callable[[Any, bytes], int]] = {
    "AVIF": _of_avif,
    "JPEG2000": _of_jpeg2000,
    "PNG": _of_png,
    "PPM": _of_ppm,
    "SGI": _of_sgi,
    "TIFF": _of_tiff,
}
