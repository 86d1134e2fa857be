"""Images a second of every data set that has its files at hand, against a training step's.

    python benchmarks/data.py --size 32

Digits and photographs come with scikit-learn; the other formats are written first, as small
files of random pixels. Every loader runs in the training process with the augmentation of the
CIFAR-10 recipe, and the step trains a flow of 3 levels and 4 steps. Medians of interleaved
repeats; writes a table to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tables import save_table
from torchvision.transforms import v2

from attnflow.data import (
    DigitsDataModule,
    DownsampledImageNetDataModule,
    ImageDataModule,
    ImageFolderDataModule,
    PairedFolderDataModule,
    PhotosDataModule,
)
from attnflow.dequantization import UniformDequantizer
from attnflow.flow import Flow
from attnflow.image_model import ImageModel

BATCH_SIZE = 64
NUM_IMAGES = 1_280
COLUMNS = ("data", "augmented", "images/s", "training step's images/s", "ratio")


def write_imagenet(root: Path, rng: np.random.Generator) -> None:
    for name in (*(f"train_data_batch_{n}" for n in range(1, 11)), "val_data"):
        rows = rng.integers(0, 256, (NUM_IMAGES // 10, 3072), dtype=np.uint8)
        (root / name).write_bytes(pickle.dumps({"data": rows, "labels": [1] * len(rows)}))


def write_folder(root: Path, rng: np.random.Generator, size: int, width: int) -> None:
    for number in range(NUM_IMAGES):
        pixels = rng.integers(0, 256, (size, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number:05d}.png")


def modules(root: Path, size: int) -> dict[tuple[str, bool], ImageDataModule]:
    """The data modules by name, with and without augmentation, their files written."""
    rng = np.random.default_rng(0)
    for name in ("imagenet32", "folder", "pairs"):
        (root / name).mkdir()
    write_imagenet(root / "imagenet32", rng)
    write_folder(root / "folder", rng, size, size)
    write_folder(root / "pairs", rng, size, 2 * size)
    augment = (v2.RandomCrop(size, padding=3, padding_mode="reflect"), v2.RandomHorizontalFlip())
    options = {"batch_size": BATCH_SIZE}
    made: dict[tuple[str, bool], ImageDataModule] = {("digits", False): DigitsDataModule(**options)}
    for augmented in (False, True):
        both = options | {"augment": augment if augmented else ()}
        made["photos", augmented] = PhotosDataModule(size=size, **both)
        made["imagenet32", augmented] = DownsampledImageNetDataModule(
            str(root / "imagenet32"), **both
        )
        for name, lazy in (("image_folder", False), ("image_folder, decoded at every read", True)):
            made[name, augmented] = ImageFolderDataModule(
                str(root / "folder"), size=size, in_memory=not lazy, **both
            )
        made["paired_folder", augmented] = PairedFolderDataModule(
            str(root / "pairs"), size=size, **both
        )
    return made


def loading_rate(module: ImageDataModule) -> float:
    """Images a second of one epoch's loader; the split has been read before."""
    module.dataset("train")
    started, count = time.perf_counter(), 0
    for batch in module.train_dataloader():
        count += len(batch["image"])
        if count >= NUM_IMAGES:
            break
    return count / (time.perf_counter() - started)


def training_step(size: int) -> Callable[[], float]:
    """A function that takes one step and returns its images a second."""
    flow = Flow((3, size, size), levels=3, steps=4)
    model = ImageModel(flow, UniformDequantizer(256, (3, size, size)))
    optimizer = torch.optim.Adam(model.parameters())
    images = torch.randint(256, (BATCH_SIZE, 3, size, size))

    def step() -> float:
        started = time.perf_counter()
        loss = model({"image": images}, torch.rand(images.shape)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return BATCH_SIZE / (time.perf_counter() - started)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=32, choices=(32,))
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error(f"repeats is {arguments.repeats}; 1 or more is accepted")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        made = modules(Path(folder), arguments.size)
        step = training_step(arguments.size)
        step()
        rates: dict[tuple[str, bool], list[float]] = {key: [] for key in made}
        steps: list[float] = []
        for _ in range(arguments.repeats):
            for key, module in made.items():
                rates[key].append(loading_rate(module))
            steps.append(step())
    trained = statistics.median(steps)
    rows = []
    for (name, augmented), values in rates.items():
        rate = statistics.median(values)
        answer = "yes" if augmented else "no"
        rows.append([name, answer, f"{rate:,.0f}", f"{trained:,.0f}", f"{rate / trained:.1f}"])
    title = f"Loading at {arguments.size} x {arguments.size} (digits: 8 x 8), one thread"
    save_table("data", title, COLUMNS, rows)


if __name__ == "__main__":
    main()
