"""Where numbered images go: a file each, or one array; by several processes, in several legs."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from attnflow.data.given import given_images
from attnflow.errors import AttnFlowError
from attnflow.metrics.images import to_uint8
from attnflow.utils.files import write_whole

__all__ = ["FORMATS", "ImageStore", "image_store"]

FORMATS = ("png", "npy", "npz")


class ImageStore(ABC):
    """Images of the numbers 0 to n - 1.

    Args:
        folder: that they are written to.
        n: how many.
        shape: (C, H, W) of an image.
        num_bins: of its grey values.
    """

    def __init__(self, folder: Path, n: int, shape: tuple[int, int, int], num_bins: int) -> None:
        self.folder, self.n, self.shape, self.num_bins = folder, n, shape, num_bins

    @property
    @abstractmethod
    def path(self) -> Path:
        """What holds all the images in the end."""

    @abstractmethod
    def open(self) -> None:
        """Make room, unless it is there from before; by one process."""

    @abstractmethod
    def missing(self) -> list[int]:
        """The numbers that have not been written."""

    @abstractmethod
    def write(self, numbers: Sequence[int], images: Tensor) -> None:
        """Keep integer images (B, C, H, W) of these numbers."""

    @abstractmethod
    def read(self, n: int) -> Tensor:
        """The first n images, as they were given; all have been written."""

    @abstractmethod
    def close(self, labels: Sequence[int] | None) -> None:
        """Finish, once all have been written; by one process.

        Args:
            labels: the class of each image, if it has one.
        """


class ImageFiles(ImageStore):
    """A PNG each, ``images/000000.png``: grey values are spread over 0 to 255."""

    @property
    def path(self) -> Path:
        return self.folder / "images"

    def open(self) -> None:
        self.path.mkdir(exist_ok=True)

    def missing(self) -> list[int]:
        there = {entry.name for entry in os.scandir(self.path)}
        return [number for number in range(self.n) if self.file(number).name not in there]

    def write(self, numbers: Sequence[int], images: Tensor) -> None:
        for number, image in zip(numbers, to_uint8(images, self.num_bins).cpu(), strict=True):
            content = io.BytesIO()
            to_pil_image(image).save(content, "PNG")
            write_whole(self.file(number), content.getbuffer())

    def read(self, n: int) -> Tensor:
        return given_images("out", self.path, self.shape, self.num_bins).batch(range(n))

    def close(self, labels: Sequence[int] | None) -> None:
        if labels is not None:
            named = zip(map(self.file, range(self.n)), labels, strict=True)
            lines = ["file,label", *(f"{path.name},{label}" for path, label in named)]
            write_whole(self.folder / "labels.csv", "\n".join(lines) + "\n")

    def file(self, number: int) -> Path:
        return self.path / f"{number:0{max(6, len(str(self.n - 1)))}d}.png"


class ImageArray(ImageStore):
    """One array, ``images.npy``: uint8, (n, C, H, W), grey values as the model has them.

    Until all have been written the file has another name, and one beside it says which have.
    """

    @property
    def path(self) -> Path:
        return self.folder / "images.npy"

    @property
    def partial(self) -> Path:
        return self.folder / "images.npy.partial"

    @property
    def marks(self) -> Path:
        return self.folder / "images.written"

    def open(self) -> None:
        if self.path.exists() or self.marks.exists():
            return
        new = np.lib.format.open_memmap(
            self.partial, mode="w+", dtype=np.uint8, shape=(self.n, *self.shape)
        )
        del new
        write_whole(self.marks, bytes(self.n))  # last: it says that there is room

    def missing(self) -> list[int]:
        if self.path.exists():
            return []
        marks = np.fromfile(self.marks, np.uint8)
        if len(marks) != self.n:
            raise AttnFlowError(f"{self.marks}: expected {self.n} marks, got {len(marks)}.")
        return np.flatnonzero(marks == 0).tolist()

    def write(self, numbers: Sequence[int], images: Tensor) -> None:
        array = np.load(self.partial, mmap_mode="r+")
        array[list(numbers)] = images.to(torch.uint8).cpu().numpy()
        array.flush()
        marks = np.memmap(self.marks, np.uint8, "r+")
        marks[list(numbers)] = 1
        marks.flush()

    def read(self, n: int) -> Tensor:
        path = self.path if self.path.exists() else self.partial
        return torch.from_numpy(np.load(path, mmap_mode="r")[:n].copy())

    def close(self, labels: Sequence[int] | None) -> None:
        if self.path.exists():
            return
        if labels is not None:
            content = io.BytesIO()
            np.save(content, np.asarray(labels))
            write_whole(self.folder / "labels.npy", content.getbuffer())
        self.partial.replace(self.path)
        self.marks.unlink()


class ImageArchive(ImageArray):
    """The same array as ``images`` in ``images.npz``, with ``labels`` beside it."""

    @property
    def path(self) -> Path:
        return self.folder / "images.npz"

    def read(self, n: int) -> Tensor:
        if not self.path.exists():
            return super().read(n)
        with np.load(self.path) as archive:
            return torch.from_numpy(archive["images"][:n])

    def close(self, labels: Sequence[int] | None) -> None:
        if self.path.exists():
            return
        arrays = {"images": np.load(self.partial, mmap_mode="r")}
        if labels is not None:
            arrays["labels"] = np.asarray(labels)
        unfinished = self.folder / "images.partial.npz"
        np.savez(unfinished, **arrays)
        unfinished.replace(self.path)
        self.partial.unlink()
        self.marks.unlink()


STORES: dict[str, type[ImageStore]] = {"png": ImageFiles, "npy": ImageArray, "npz": ImageArchive}


def image_store(
    format: str, folder: Path, n: int, shape: tuple[int, int, int], num_bins: int
) -> ImageStore:
    """The store of a format of :data:`FORMATS`."""
    return STORES[format](folder, n, shape, num_bins)
