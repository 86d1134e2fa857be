"""Images that a user uploads: bounded, checked, and made into what the model takes."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from torch import Tensor

from attnflow.data.decoding import CorruptImage, decode, fit, formats
from attnflow.data.finding import shown
from attnflow.data.given import from_bytes
from attnflow.data.padding import pad_to
from attnflow.errors import AttnFlowError

__all__ = ["LARGEST", "LONGEST_SIDE", "check_upload", "uploaded_image"]

LARGEST = 10 * 2**20  # bytes
LONGEST_SIDE = 4096  # pixels
NO_IMAGE = "upload: expected an image (PNG, JPEG, WebP, TIFF, ...), got {}, which cannot be read."


def uploaded_image(
    file: Path,
    shape: tuple[int, int, int],
    num_bins: int,
    padded: tuple[int, int, int] | None = None,
) -> Tensor:
    """An uploaded file as integers 0 to num_bins - 1: uint8, (C, H, W).

    It is scaled until it just covers the shape and cut to its centre, grey is turned into colour
    and colour into grey, and grey values are rounded to the model's.

    Args:
        file: the upload.
        shape: (C, H, W) that it is made to have.
        num_bins: of the grey values.
        padded: (C, H, W) with zero pixels around it; None for none.

    Raises:
        AttnFlowError: a file that is too large, no image, or an image of too many pixels.
    """
    check_upload(file)
    if shape[0] not in (1, 3):
        raise AttnFlowError(
            f"upload: expected a model of grey or colour images, got one of {shape[0]} channels, "
            "whose images no file holds."
        )
    try:
        decoded = decode(file, shape[0], convert=True)
    except CorruptImage:
        raise AttnFlowError(NO_IMAGE.format(shown(Path(file.name)))) from None
    except AttnFlowError as error:  # of too many bits a value, say; the folder is nobody's business
        words = str(error).replace(shown(file), shown(Path(file.name)))
        raise AttnFlowError(f"upload: {words}") from None
    image = from_bytes(fit(decoded, (shape[1], shape[2])), num_bins, file.name, rounded=True)
    return image if padded is None else pad_to(image, padded)


def check_upload(file: Path) -> None:
    """Raise :class:`AttnFlowError` for what is not to be decoded, before it is."""
    name, size = shown(Path(file.name)), file.stat().st_size
    if size > LARGEST:
        raise AttnFlowError(
            f"upload: expected an image of {LARGEST // 2**20} MB or less, got {name} of "
            f"{size / 2**20:.0f} MB."
        )
    try:
        with file.open("rb") as opened:
            sides = Image.open(opened, formats=formats()).size  # the header alone is read
    except Image.DecompressionBombError:
        sides = None
    except Exception:  # of what is no image, its reader can raise anything
        raise AttnFlowError(NO_IMAGE.format(name)) from None
    if sides is None or max(sides) > LONGEST_SIDE:
        got = "more" if sides is None else f"{sides[0]} x {sides[1]}"
        raise AttnFlowError(
            f"upload: expected an image of {LONGEST_SIDE} pixels a side or fewer, got {name} of "
            f"{got}."
        )
