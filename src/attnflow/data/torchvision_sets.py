"""The small public data sets that torchvision reads."""

from __future__ import annotations

import math
import pickle
import struct
import tarfile
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torchvision import datasets
from torchvision.datasets.utils import check_integrity
from typing_extensions import Unpack

from attnflow.data.base import ImageDataModule, LoaderOptions
from attnflow.data.bit_depth import check_num_bits, reduce_bits
from attnflow.data.finding import data_folder, shown
from attnflow.data.padding import pad, padded_spec
from attnflow.data.samples import TensorImages
from attnflow.errors import AttnFlowError, check_least
from attnflow.spec import DataSpec

__all__ = [
    "CIFAR10DataModule",
    "CIFAR100DataModule",
    "FashionMNISTDataModule",
    "MNISTDataModule",
    "SVHNDataModule",
    "TorchvisionDataModule",
]

# The errors of torchvision without a network (URLError is an OSError) and at damaged files.
FAILURES = (
    OSError,
    HTTPException,
    RuntimeError,
    ValueError,
    EOFError,
    LookupError,
    AssertionError,
    tarfile.TarError,
    pickle.UnpicklingError,
)
IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


class TorchvisionDataModule(ImageDataModule):
    """A data set that torchvision downloads and reads, held in memory as 8-bit images.

    Fixed split: the official test set tests; the official training set is shuffled once with
    seed 0, and its last ``num_val`` images validate.

    Args:
        data_dir: where the files are, or where ``prepare_data`` downloads them to.
        num_bits: bits of a grey value, 1 to 8.
        padding: zero pixels to add on every side; bits/dim stay those of the original's
            dimensions.
        download: whether missing files may be downloaded.
        loader: as for every data module, :class:`~attnflow.data.base.ImageDataModule`.

    Attributes:
        source: torchvision's class.
        files: the official files' paths below ``data_dir``, with their MD5 sums where known.
        shape: (C, H, W) without padding.
        num_val: training images that validate.
    """

    source: ClassVar[type]
    files: ClassVar[Mapping[str, str | None]]
    shape: ClassVar[tuple[int, int, int]]
    num_classes: ClassVar[int] = 10
    num_val: ClassVar[int] = 5_000

    def __init__(
        self,
        data_dir: str,
        num_bits: int = 8,
        padding: int = 0,
        download: bool = True,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(**loader)
        check_least("padding", padding, 0)
        self.data_dir, self.num_bits = data_folder(data_dir), check_num_bits(num_bits)
        self.padding, self.download = padding, download

    @property
    def spec(self) -> DataSpec:
        return padded_spec(self.shape, self.padding, self.num_bits, self.num_classes)

    @property
    def writes_to(self) -> dict[str, Path]:
        is_there = all((self.data_dir / name).is_file() for name in self.files)
        return {} if is_there or not self.download else {"data_dir": self.data_dir}

    def prepare_data(self) -> None:
        for official in ("train", "test"):
            try:
                self.open(official, download=self.download)
            except FAILURES as error:
                raise self._unreadable(error) from error

    def read(self, split: str) -> TensorImages:
        try:
            official = self.open("test" if split == "test" else "train", download=False)
        except FAILURES as error:
            raise self._unreadable(error) from error
        images, labels = self.arrays(official)
        if split != "test":
            order = np.random.default_rng(0).permutation(len(labels))
            order = order[: -self.num_val] if split == "train" else order[-self.num_val :]
            images, labels = images[order], labels[order]
        images = pad(reduce_bits(images, self.num_bits), self.padding)
        return TensorImages(images, label=labels)

    def open(self, official: str, download: bool) -> Any:
        """torchvision's own data set of the official ``train`` or ``test`` images."""
        return self.source(str(self.data_dir), train=official == "train", download=download)

    def arrays(self, official: Any) -> tuple[Tensor, Tensor]:
        """Images (N, C, H, W), uint8, and labels (N,), of torchvision's data set."""
        images, labels = torch.as_tensor(official.data), torch.as_tensor(official.targets)
        return images[:, None] if images.ndim == 3 else images.movedim(3, 1), labels

    def is_whole(self, file: Path, checksum: str | None) -> bool:
        """Whether an official file is as it was published."""
        return check_integrity(str(file), checksum)

    def _unreadable(self, error: Exception) -> AttnFlowError:
        """The error that names the files to put into the folder: those missing or damaged."""
        missing = [name for name in self.files if not (self.data_dir / name).is_file()]
        damaged = [
            name
            for name, checksum in self.files.items()
            if name not in missing and not self.is_whole(self.data_dir / name, checksum)
        ]
        states = {"lacks": missing, "holds damaged": damaged}
        found = " and ".join(f"{s} {', '.join(names)}" for s, names in states.items() if names)
        reason = str(error).strip().split("\n")[0]
        return AttnFlowError(
            f"{type(self).__name__} in {shown(self.data_dir)}: expected the files of the official "
            "release (data.data_dir=PATH names another folder, to eval.py too), got a folder that "
            f"{found or 'holds other files than ' + ', '.join(self.files)}, and no download "
            f"({reason})."
        )


def cifar_files(source: type[datasets.CIFAR10]) -> dict[str, str]:
    """The official files of a CIFAR data set, with their MD5 sums."""
    meta = (source.meta["filename"], source.meta["md5"])
    listed = (*source.train_list, *source.test_list, meta)
    return {f"{source.base_folder}/{name}": checksum for name, checksum in listed}


class MNISTDataModule(TorchvisionDataModule):
    """MNIST: 55,000 + 5,000 + 10,000 grey images of 28 x 28 handwritten digits."""

    source = datasets.MNIST
    files = dict.fromkeys(f"MNIST/raw/{name}" for name in IDX_FILES)
    shape = (1, 28, 28)

    def is_whole(self, file: Path, checksum: str | None) -> bool:
        """Compare the length with the header's, as checksums exist for compressed files only."""
        content = file.read_bytes()
        try:
            sizes = struct.unpack_from(f">{content[3]}I", content, 4)
        except (IndexError, struct.error):
            return False
        return len(content) == 4 + 4 * len(sizes) + math.prod(sizes)


class FashionMNISTDataModule(MNISTDataModule):
    """Fashion-MNIST: 55,000 + 5,000 + 10,000 grey images of 28 x 28 pieces of clothing."""

    source = datasets.FashionMNIST
    files = dict.fromkeys(f"FashionMNIST/raw/{name}" for name in IDX_FILES)


class CIFAR10DataModule(TorchvisionDataModule):
    """CIFAR-10: 45,000 + 5,000 + 10,000 colour images of 32 x 32 in ten classes."""

    source = datasets.CIFAR10
    files = cifar_files(datasets.CIFAR10)
    shape = (3, 32, 32)


class CIFAR100DataModule(TorchvisionDataModule):
    """CIFAR-100: 45,000 + 5,000 + 10,000 colour images of 32 x 32 in a hundred classes."""

    source = datasets.CIFAR100
    files = cifar_files(datasets.CIFAR100)
    shape = (3, 32, 32)
    num_classes = 100


class SVHNDataModule(TorchvisionDataModule):
    """SVHN, cropped: 68,257 + 5,000 + 26,032 colour images of 32 x 32 house-number digits."""

    source = datasets.SVHN
    files: ClassVar = dict(datasets.SVHN.split_list[split][1:] for split in ("train", "test"))
    shape = (3, 32, 32)

    def open(self, official: str, download: bool) -> Any:
        return datasets.SVHN(str(self.data_dir), split=official, download=download)

    def arrays(self, official: Any) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(official.data), torch.from_numpy(official.labels).long()
