"""Pictures with words: sheets of labelled images, and how a picture is kept."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2.functional import to_pil_image

from attnflow.errors import ArgumentError, check_choice
from attnflow.utils.files import write_whole

__all__ = [
    "FORMATS",
    "as_colours",
    "check_formats",
    "enlarged",
    "pixels",
    "save_picture",
    "sheet",
]

# Of a picture's files; letters and lines stay sharp in PDF and SVG, images are what they are.
FORMATS = ("png", "pdf", "svg")

DPI = 100
INK = "#333333"
FONT_SIZE = 8  # points
LETTER, LINE = 6.2, 13  # width of a letter and height of a line, in pixels
CELL_SIDE = 64  # small images are enlarged, pixel by pixel, to this side or a little more
GAP = 3
BORDER = 0.6  # grey of the hairline around an image


def pixels(picture: Figure) -> Tensor:
    """What a picture shows: (3, H, W) in [0, 1]."""
    canvas = FigureCanvasAgg(picture)
    canvas.draw()
    shown = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    return torch.from_numpy(shown).permute(2, 0, 1).float() / 255


def save_picture(picture: Figure, path: Path, formats: Sequence[str] = ("png",)) -> Path:
    """Write a picture to files of one name, making their folder if needed.

    Args:
        picture: to write.
        path: of the PNG; the others have their own suffixes.
        formats: of :data:`FORMATS`.

    Returns:
        The path of the first format.

    Raises:
        WriteError: the disk is full, or whatever else is wrong with it.
    """
    written = []
    for format in formats:
        content = io.BytesIO()
        if format == "png":
            to_pil_image(pixels(picture)).save(content, "PNG")
        else:
            # Without the date, so that the same picture is the same file.
            metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}[format]
            picture.savefig(content, format=format, dpi=DPI, metadata=metadata)
        written.append(write_whole(path.with_suffix(f".{format}"), content.getbuffer()))
    return written[0]


def as_colours(images: Tensor, num_bins: int) -> Tensor:
    """Integer images (N, C, H, W) as colours (N, 3, H, W) in [0, 1], on the CPU.

    One channel is grey; of more than three (one-hot labels), the number of the largest is.
    """
    images = images.detach().float().cpu()
    if images.shape[1] > 3:
        images, num_bins = images.argmax(1, keepdim=True).float(), images.shape[1]
    return (images / (num_bins - 1)).clamp(0, 1).expand(-1, 3, -1, -1)


def enlarged(images: Tensor, side: int = CELL_SIDE) -> Tensor:
    """Images (N, C, H, W), each pixel repeated until the shorter side has ``side`` or more."""
    factor = math.ceil(side / min(images.shape[-2:]))
    return F.interpolate(images, scale_factor=factor, mode="nearest")


def check_formats(option: str, formats: Sequence[str]) -> None:
    """Raise :class:`AttnFlowError` for a format that pictures are not written in, or for none."""
    if isinstance(formats, str) or not formats:
        raise ArgumentError(option, f"a list of some of {', '.join(FORMATS)}", formats)
    for format in formats:
        check_choice(f"a format of {option}", format, FORMATS)


def sheet(
    rows: Sequence[Tensor],
    labels: Sequence[str],
    notes: Sequence[str] = (),
    columns: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Rows of images with a label each, as one picture.

    Args:
        rows: colours (N, 3, H, W) in [0, 1], of equal H and W; N may differ.
        labels: to the left of the rows, of one or several lines.
        notes: to the right of the rows.
        columns: above the columns.
        title: above everything, of one or several lines.
    """
    framed = [F.pad(row, (1, 1, 1, 1), value=BORDER) for row in rows]
    high, wide = (side + GAP for side in framed[0].shape[2:])
    left, right = _width(labels) + 12, _width(notes) + 12
    lines = title.split("\n") if title else []
    header = 6 + LINE * (len(lines) + bool(columns))
    width = round(left + wide * max(len(row) for row in rows) + right)
    height = header + high * len(rows) + 4
    figure = Figure((max(width, round(_width(lines)) + 16) / DPI, height / DPI), DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    words = {"fontsize": FONT_SIZE, "color": INK}
    if title:
        axes.text(8, 4, title, va="top", **words)
    for number, column in enumerate(columns):
        middle = left + wide * number + wide / 2
        axes.text(middle, header - 3, column, ha="center", va="bottom", **words)
    end = left
    words_beside = zip_longest(labels, notes, fillvalue="")
    for number, (row, (label, note)) in enumerate(zip(framed, words_beside, strict=True)):
        top = header + high * number
        strip = torch.cat([F.pad(image, (0, GAP), value=1.0) for image in row], 2)
        extent = (left, left + strip.shape[2], top + strip.shape[1], top)
        axes.imshow(strip.permute(1, 2, 0).numpy(), extent=extent, interpolation="nearest")
        end = max(end, extent[1])
        middle = top + (high - GAP) / 2
        axes.text(left - 6, middle, label, ha="right", va="center", **words)
        axes.text(end + 4, middle, note, ha="left", va="center", **words)
    # A unit is a pixel; drawing the images has changed the limits.
    axes.set(xlim=(0, figure.get_figwidth() * DPI), ylim=(height, 0), aspect="auto")
    return figure


def _width(words: Sequence[str]) -> float:
    """The width of the longest line, in pixels."""
    return LETTER * max((len(line) for text in words for line in text.split("\n")), default=0)
