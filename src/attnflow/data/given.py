"""Images that a user hands to a trained model: of a folder, of an array's file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import rgb_to_grayscale

from attnflow.data.decoding import decode, fit, image_suffixes
from attnflow.data.finding import find_files, shown
from attnflow.errors import AttnFlowError

__all__ = ["GivenImages", "from_bytes", "given_images"]


@dataclass(frozen=True)
class GivenImages:
    """Integer images of one shape, read by number.

    Attributes:
        names: of the images: paths below the folder, or numbers in the file.
        folder: that the files lie in; None where ``array`` holds the images.
        array: (N, C, H, W), read from the disk as it is asked for.
        shape: (C, H, W) of an image.
        num_bins: of its grey values, 0 to num_bins - 1.
        resize: whether images of other sizes and grey values are made to fit.
    """

    names: list[str]
    folder: Path | None
    array: np.ndarray | None
    shape: tuple[int, int, int]
    num_bins: int
    resize: bool

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int) -> Tensor:
        """The image of this number: uint8, (C, H, W).

        Raises:
            AttnFlowError: a file that cannot be read, or an image of another shape or depth.
        """
        if self.array is not None:
            return self._of_array(number)
        assert self.folder is not None
        file = self.folder / self.names[number]
        image = decode(file, self.shape[0], convert=self.resize)
        if tuple(image.shape) != self.shape and not self.resize:
            raise AttnFlowError(
                f"{shown(file)}: expected {_sizes(self.shape[1:])} pixels, as the model's images "
                f"have, or resize=true, got {_sizes(image.shape[1:])}."
            )
        fitted = fit(image, (self.shape[1], self.shape[2]))
        return from_bytes(fitted, self.num_bins, shown(file), self.resize)

    def batch(self, numbers: Sequence[int]) -> Tensor:
        """Several of the images: uint8, (B, C, H, W)."""
        return torch.stack([self[number] for number in numbers])

    def _of_array(self, number: int) -> Tensor:
        assert self.array is not None
        image = torch.from_numpy(np.array(self.array[number]))
        if int(image.min()) < 0 or int(image.max()) >= self.num_bins:
            raise AttnFlowError(
                f"image {number} of the array: expected grey values from 0 to "
                f"{self.num_bins - 1}, the model's, got {int(image.min())} to {int(image.max())}."
            )
        return image.to(torch.uint8)


def given_images(
    option: str, path: str | Path, shape: tuple[int, int, int], num_bins: int, resize: bool = False
) -> GivenImages:
    """The images of a folder, or of an ``.npy`` file.

    Of a folder, all files of images below it, in the order of their paths; their grey values, 0 to
    255, stand for the model's as those of :func:`~attnflow.metrics.images.to_uint8` do. Of a file,
    whole numbers from 0 to num_bins - 1, (N, C, H, W).

    Args:
        option: that names them, for messages.
        path: of the folder or the file.
        shape: (C, H, W) of the model's images.
        num_bins: of their grey values.
        resize: scale and cut images of other sizes, turn grey into colour and colour into grey, and
            round grey values that the model does not have, instead of refusing them.

    Raises:
        AttnFlowError: no such folder or file, one without images, or an array of another kind.
    """
    path = Path(path)
    if path.suffix == ".npy" and path.is_file():
        array = read_array(option, path, shape)
        return GivenImages(
            [str(n) for n in range(len(array))], None, array, shape, num_bins, resize
        )
    if not path.is_dir():
        state = "a file of another kind" if path.exists() else "a path that does not exist"
        raise AttnFlowError(
            f"{option}: expected a folder of images or an .npy file, got {path}, {state}."
        )
    files = find_files(path, image_suffixes()).files
    if not files:
        raise AttnFlowError(f"{option}: expected images below {path}, got none.")
    names = [file.relative_to(path).as_posix() for file in files]
    return GivenImages(names, path, None, shape, num_bins, resize)


def read_array(option: str, path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """The integer array (N, C, H, W) of a file, mapped from the disk; no code in it is run."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("several arrays, as in an .npz file")
    except (OSError, ValueError, EOFError) as error:
        raise AttnFlowError(
            f"{option}: expected an .npy file of whole numbers, got {path}, which holds none "
            "that can be read."
        ) from error
    if array.dtype.kind not in "iu" or array.shape[1:] != shape or not len(array):
        raise AttnFlowError(
            f"{option}: expected whole numbers of shape (N, {', '.join(map(str, shape))}), N of 1 "
            f"or more, got {array.dtype} of shape {array.shape} in {path}."
        )
    return array


def from_bytes(image: Tensor, num_bins: int, name: str, rounded: bool) -> Tensor:
    """An 8-bit image as the model's grey values, 0 to num_bins - 1.

    Those are spread over 0 to 255. Where their number is a power of 2, what lies between them is
    cut down as ``data.num_bits`` does it.

    Args:
        image: uint8, (C, H, W).
        num_bins: of the model.
        name: of the image, for the message.
        rounded: take what lies between for the nearest, instead of refusing it.

    Raises:
        AttnFlowError: a value that is none of the model's.
    """
    if num_bins & (num_bins - 1) == 0:
        return image >> (9 - num_bins.bit_length())
    levels = (image.double() * ((num_bins - 1) / 255)).round()
    spread = (levels * (255 / (num_bins - 1))).round().to(torch.uint8)
    if not rounded and bool((spread != image).any()):
        found = int(image[spread != image][0])
        raise AttnFlowError(
            f"{name}: expected the model's {num_bins} grey values spread over 0 to 255, or "
            f"resize=true to round to them, got {found}."
        )
    return levels.to(torch.uint8)


def fit_bytes(images: Tensor, shape: tuple[int, int, int], num_bins: int) -> Tensor:
    """8-bit images as those of a model: of its size, its colours and its grey values.

    Args:
        images: uint8, (B, 1 or 3, H, W).
        shape: (C, H, W) of the model's images.
        num_bins: of its grey values.
    """
    if shape[0] == 1 and images.shape[1] == 3:
        images = rgb_to_grayscale(images)
    sized = torch.stack([fit(image, (shape[1], shape[2])) for image in images])
    return from_bytes(sized.expand(-1, shape[0], -1, -1), num_bins, "an image", rounded=True)


def _sizes(sizes: tuple[int, ...] | torch.Size) -> str:
    return " x ".join(map(str, sizes))
