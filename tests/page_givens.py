"""What a page's reader has before it begins, such as a folder of photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from written import write_twin

__all__ = ["GIVENS"]

IMAGES = 80
SIDE = 48


def photographs(folder: Path) -> None:
    """Write smooth colour images into a subfolder."""
    for number in range(IMAGES):
        write_twin(folder / "holidays" / f"{number + 1}.jpg", picture(number))


def classes(folder: Path) -> None:
    """Write a folder of images for each of two classes."""
    for number in range(2 * IMAGES):
        write_twin(folder / ("cats", "dogs")[number % 2] / f"{number}.png", picture(number))


def halves(folder: Path) -> None:
    """Write images of which one half is the other's condition."""
    for number in range(IMAGES):
        image = picture(number)
        write_twin(folder / f"{number}.png", np.concatenate([image, 255 - image], axis=1))


def picture(number: int) -> np.ndarray:
    """A colour image, (H, W, 3): slow waves of its own, and noise."""
    generator = np.random.default_rng(number)
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    phases, rates = generator.uniform(0, 6, (2, 3, 2))
    waves = [
        np.sin(phase[0] + rate[0] * rows) + np.sin(phase[1] + rate[1] * columns)
        for phase, rate in zip(phases, rates, strict=True)
    ]
    noise = generator.normal(0, 4, (SIDE, SIDE, 3))
    return np.clip(128 + 50 * np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)


# Makes a folder, by the name that it has on pages.
GIVENS: dict[str, Callable[[Path], None]] = {
    "photographs": photographs,
    "classes": classes,
    "facades": halves,
}
