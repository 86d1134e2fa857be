"""Image files for tests, of random pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)


def pixels(*shape: int) -> np.ndarray:
    """Random grey values, uint8."""
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def write_twin(path: Path, array: np.ndarray, **options: object) -> None:
    """An image file of these pixels, in the format that its suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def write_image(path: Path, *shape: int) -> np.ndarray:
    """An image file of random pixels, (H, W) or (H, W, channels), which are returned."""
    array = pixels(*shape)
    write_twin(path, array)
    return array


def write_many(folder: Path, number: int, suffix: str = ".png") -> None:
    """Colour images of 4 x 4 pixels, called by their numbers."""
    for row in range(number):
        write_image(folder / f"{row}{suffix}", 4, 4, 3)
