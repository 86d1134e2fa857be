"""Small files in the official formats of public data sets; each writer returns the test images."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
from scipy.io import savemat

from attnflow.data import (
    CIFAR10DataModule,
    CIFAR100DataModule,
    DownsampledImageNetDataModule,
    FashionMNISTDataModule,
    MNISTDataModule,
    SVHNDataModule,
)

RNG = np.random.default_rng(0)


def pixels(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def write_idx(path: Path, array: np.ndarray) -> None:
    """The format of MNIST: a magic number with the rank, the sizes, the bytes."""
    header = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape)
    content = header + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_mnist(root: Path, name: str, suffix: str = "") -> np.ndarray:
    """Decompressed, or with suffix ``.gz`` as published."""
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    test = pixels(7, 28, 28)
    for prefix, images in (("train", pixels(20, 28, 28)), ("t10k", test)):
        labels = np.arange(len(images), dtype=np.uint8) % 10
        write_idx(raw / f"{prefix}-images-idx3-ubyte{suffix}", images)
        write_idx(raw / f"{prefix}-labels-idx1-ubyte{suffix}", labels)
    return test


def write_pickle(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))


def write_cifar10(root: Path) -> np.ndarray:
    folder = root / "cifar-10-batches-py"
    test = pixels(6, 3072)
    for number in range(1, 6):
        write_pickle(
            folder / f"data_batch_{number}", {"data": pixels(4, 3072), "labels": [1, 2, 3, 4]}
        )
    write_pickle(folder / "test_batch", {"data": test, "labels": [5] * 6})
    write_pickle(folder / "batches.meta", {"label_names": list("abcdefghij")})
    return test


def write_cifar100(root: Path) -> np.ndarray:
    folder = root / "cifar-100-python"
    test = pixels(6, 3072)
    write_pickle(folder / "train", {"data": pixels(20, 3072), "fine_labels": [99] * 20})
    write_pickle(folder / "test", {"data": test, "fine_labels": [5] * 6})
    write_pickle(folder / "meta", {"fine_label_names": [str(n) for n in range(100)]})
    return test


def write_svhn(root: Path) -> np.ndarray:
    test = pixels(32, 32, 3, 6)
    for name, images in (("train", pixels(32, 32, 3, 20)), ("test", test)):
        labels = np.full((images.shape[-1], 1), 10, dtype=np.uint8)  # the digit 0
        savemat(root / f"{name}_32x32.mat", {"X": images, "y": labels})
    return test.transpose(3, 2, 0, 1)


def write_imagenet32(root: Path) -> np.ndarray:
    test = pixels(6, 3072)
    for number in range(1, 11):
        write_pickle(
            root / f"train_data_batch_{number}",
            {"data": pixels(4, 3072), "labels": [1, 2, 3, 1000]},
        )
    write_pickle(root / "val_data", {"data": test, "labels": [7] * 6})
    return test


# The data module and the writer of each.
SETS = {
    "mnist": (MNISTDataModule, lambda root: write_mnist(root, "MNIST")),
    "fashion_mnist": (FashionMNISTDataModule, lambda root: write_mnist(root, "FashionMNIST")),
    "cifar10": (CIFAR10DataModule, write_cifar10),
    "cifar100": (CIFAR100DataModule, write_cifar100),
    "svhn": (SVHNDataModule, write_svhn),
    "imagenet32": (DownsampledImageNetDataModule, write_imagenet32),
}
