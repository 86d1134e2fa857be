"""Image files as uint8 tensors of one size."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from attnflow.data.base import TensorImages
from attnflow.errors import AttnFlowError

__all__ = ["CorruptImage", "LazySamples", "decode", "fit", "image_files", "load", "size_of"]

log = logging.getLogger(__name__)
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MODES = {1: "L", 3: "RGB"}
NAMES = {1: "grey", 3: "colour"}
# What Pillow raises for damaged files; a damaged header may also announce a huge image.
DAMAGED = (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError)

# Reads one sample: "image" (C, H, W), and what goes with it.
Reader = Callable[[], Mapping[str, Tensor]]


class CorruptImage(AttnFlowError):
    """An image file that cannot be decoded."""


class LazySamples(Dataset):
    """Samples that are decoded anew at every read; for sets that do not fit in memory."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        self.readers = readers

    def __len__(self) -> int:
        return len(self.readers)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {**self.readers[index](), "index": torch.tensor(index)}


def load(readers: Sequence[Reader], in_memory: bool, skip_corrupt: bool) -> Dataset:
    """The samples of ``readers``, decoded once and held in memory, or at every read.

    All are decoded here once in either case, so that a bad file stops a run at its start.

    Raises:
        AttnFlowError: a corrupt image, unless they are to be skipped; all of them corrupt.
    """
    rows: dict[str, Tensor] = {}
    readable: list[Reader] = []
    for reader in readers:
        try:
            sample = reader()
        except CorruptImage as error:
            if not skip_corrupt:
                raise
            log.warning("skipped: %s", error)
            continue
        if in_memory:
            # Filled in place: a list to stack would need the memory twice.
            for name, value in sample.items():
                rows.setdefault(name, value.new_empty(len(readers), *value.shape))
                rows[name][len(readable)] = value
        readable.append(reader)
    if len(readable) < len(readers):
        skipped = len(readers) - len(readable)
        log.warning("skipped %d of %d images, which are corrupt", skipped, len(readers))
    if not readable:
        raise AttnFlowError(
            f"all of the {len(readers)} images of a split are corrupt; one readable image or more "
            "is accepted."
        )
    if not in_memory:
        return LazySamples(readable)
    return TensorImages(**{name: values[: len(readable)] for name, values in rows.items()})


def image_files(folder: Path) -> list[Path]:
    """All image files below ``folder``, in a fixed order.

    Raises:
        AttnFlowError: there is no such folder, or no image in it.
    """
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        state = "holds no image" if folder.is_dir() else "does not exist"
        raise AttnFlowError(
            f"the folder {folder} {state}; a folder of {', '.join(SUFFIXES)} files is accepted."
        )
    return found


def decode(file: Path, channels: int, convert: bool = False) -> Tensor:
    """One image file: uint8, (channels, H, W).

    Args:
        file: of any format that Pillow reads.
        channels: 1 or 3.
        convert: accept grey for colour, and colour for grey, and convert.

    Raises:
        CorruptImage: the file is damaged or truncated.
        AttnFlowError: grey where colour is expected, or the other way round; a file of more
            than 8 bits a grey value, which would lose its brighter values.
    """
    try:
        with Image.open(file) as image:
            image.load()
    except DAMAGED as error:
        raise unreadable(file, error) from error
    if image.mode.startswith("I") or image.mode == "F":
        raise AttnFlowError(
            f"{file} has more than 8 bits a grey value (mode {image.mode}); 8-bit images are "
            "accepted."
        )
    found = 1 if image.mode in ("1", "L", "LA") else 3
    if found != channels and not convert:
        raise AttnFlowError(
            f"{file} is a {NAMES[found]} image where {NAMES[channels]} is expected; "
            f"data.channels={found}, or data.convert=true to convert, is accepted."
        )
    return F.pil_to_tensor(image.convert(MODES[channels]))


def size_of(file: Path) -> tuple[int, int]:
    """(height, width) of an image file, from its header alone."""
    try:
        with Image.open(file) as image:
            return image.height, image.width
    except DAMAGED as error:
        raise unreadable(file, error) from error


def unreadable(file: Path, error: Exception) -> CorruptImage:
    """The error of a file that ``error`` stopped from being decoded."""
    reason = str(error).split("\n")[0]
    return CorruptImage(
        f"{file} is no readable image ({reason}); it is damaged or truncated "
        "(data.skip_corrupt=true leaves such files out)."
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
