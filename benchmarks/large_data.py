"""Memory of reading a training split, against the number of its images.

    python benchmarks/large_data.py --images 10000 100000 1000000 --workers 0 2

Every set is written first, of generated 32 x 32 colour images: parquet files, one photograph whose
overlapping patches they are, or a file each. Then a process of its own opens it as training does,
decodes every image once where the data set does so, and reads batches in the order of an epoch.
Counted is memory that only the process and its workers hold: anonymous pages, shared ones by their
share (Pss_Anon of Linux's smaps_rollup). Pages of mapped files, which the system takes back when it
needs them, stand apart. Writes a table to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import gc
import io
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import islice
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tables import save_table

from attnflow import data

SIZE = 32
BATCH_SIZE = 64
SHARD = 50_000  # images of a parquet file
DISTINCT = 1_000  # images, which are written again and again
MB = 1e6
COLUMNS = ("data", "images", "workers", "held MB", "most MB", "mapped MB", "images/s")


@dataclass
class Measured:
    """Of one data set: bytes that are held while batches are read, and at most; images a second."""

    held: int
    most: int
    mapped: int
    rate: float


@cache
def encoded(number: int) -> bytes:
    """The PNG file of a number: 8 x 8 random areas, so that a million take 300 MB."""
    areas = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(areas.repeat(4, 0).repeat(4, 1)).save(content, "PNG")
    return content.getvalue()


def write_parquet(folder: Path, number: int) -> None:
    """Parquet files of encoded images and labels, as the library datasets reads them."""
    import pyarrow as pa
    from pyarrow import parquet

    cells = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    for start in range(0, number, SHARD):
        numbers = range(start, min(start + SHARD, number))
        images = [{"bytes": encoded(each % DISTINCT), "path": None} for each in numbers]
        columns = {"image": pa.array(images, cells), "label": [each % 10 for each in numbers]}
        parquet.write_table(pa.table(columns), folder / f"train-{start:09d}.parquet")


def write_photograph(folder: Path, number: int) -> None:
    """A photograph of so many patches, one at each pixel."""
    side = isqrt(number - 1) + SIZE
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    few = pixels[:SIZE, :SIZE]
    for split, photograph in (("train", pixels), ("val", few), ("test", few)):
        (folder / split).mkdir()
        Image.fromarray(photograph).save(folder / split / "0.png", compress_level=1)


def write_files(folder: Path, number: int) -> None:
    """A file for each image, a thousand in a folder."""
    for each in range(number):
        if each % 1000 == 0:
            (folder / "train" / f"{each // 1000:06d}").mkdir(parents=True)
        file = folder / "train" / f"{each // 1000:06d}" / f"{each:09d}.png"
        file.write_bytes(encoded(each % DISTINCT))
    for split in ("val", "test"):
        (folder / split).mkdir()
        (folder / split / "0.png").write_bytes(encoded(0))


def huggingface(folder: str, number: int, workers: int, check: int | None) -> data.ImageDataModule:
    return data.HuggingFaceDataModule(
        folder,
        splits={"train": "train", "val": "val", "test": "test"},  # of which train alone is read
        label_column="label",
        cache_dir=f"{folder}/library",
        check_images=check,
        global_batch_size=BATCH_SIZE,
        num_workers=workers,
    )


def patches(folder: str, number: int, workers: int, check: int | None) -> data.ImageDataModule:
    return data.PatchesDataModule(
        folder,
        f"{folder}/cache",
        size=SIZE,
        stride=1,
        max_train=number,
        global_batch_size=BATCH_SIZE,
        num_workers=workers,
    )


def image_folder(folder: str, number: int, workers: int, check: int | None) -> data.ImageDataModule:
    return data.ImageFolderDataModule(
        folder,
        in_memory=False,
        size=SIZE,
        global_batch_size=BATCH_SIZE,
        num_workers=workers,
    )


# What writes the files of so many images, and the data module of them, by the name of the data set.
Writer = Callable[[Path, int], None]
Maker = Callable[[str, int, int, int | None], data.ImageDataModule]
WAYS: dict[str, tuple[Writer, Maker]] = {
    "huggingface": (write_parquet, huggingface),
    "patches": (write_photograph, patches),
    "image_folder": (write_files, image_folder),
}


class Watch:
    """Looks at the memory of this process and its workers, twice a second, while it is entered."""

    def __init__(self) -> None:
        self.most = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.5):
            self.most = max(self.most, memory()[0])


def memory() -> tuple[int, int]:
    """Bytes that this process and its workers hold alone, and those of mapped files."""
    ids = ["self", *(str(child.pid) for child in multiprocessing.active_children())]
    found = {"Pss_Anon": 0, "Pss_File": 0}
    for each in ids:
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        for line in lines:
            name, _, size = line.partition(":")
            if name in found:
                found[name] += 1024 * int(size.split()[0])
    return found["Pss_Anon"], found["Pss_File"]


def apart(function: Callable, *arguments: object) -> Any:
    """Call a function in a process of its own, which may start workers."""
    # Freed memory goes back to the system at once, so that what is counted is in use.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**16)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def prepare(name: str, folder: str, number: int) -> None:
    """What is done once for all trainings."""
    WAYS[name][1](folder, number, 0, None).prepare_data()


def measure(
    name: str, folder: str, number: int, workers: int, batches: int, check: int | None
) -> Measured:
    """Open a training split and read batches of an epoch."""
    torch.set_num_threads(1)
    # Workers are forked as a training's are, not spawned as this process was.
    multiprocessing.set_start_method("fork", force=True)
    module = WAYS[name][1](folder, number, workers, check)
    with Watch() as watch:
        module.dataset("train")
        loader = module.train_dataloader()  # held, as its workers end with it
        epoch = iter(loader)
        next(epoch)
        started, count = time.perf_counter(), 0
        for batch in islice(epoch, batches):
            count += len(batch["image"])
        seconds = time.perf_counter() - started
        gc.collect()
        held, mapped = memory()
    return Measured(held, max(watch.most, held), mapped, count / seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--batches", type=int, default=1_000, help="that are read at most")
    parser.add_argument("--check", type=int, help="images that huggingface decodes first, not all")
    parser.add_argument("--data", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--files", type=int, default=100_000, help="images of image_folder at most")
    arguments = parser.parse_args()
    leasts = {"images": BATCH_SIZE + 10, "workers": 0, "batches": 1, "check": 1, "files": 1}
    for name, least in leasts.items():
        value = getattr(arguments, name)
        if value is not None and min(value if isinstance(value, list) else [value]) < least:
            parser.error(f"{name}: expected {least} or more, got {value}")
    rows = []
    for name in arguments.data:
        for number in sorted(arguments.images):
            if name == "image_folder" and number > arguments.files:
                continue
            rows += rows_of(name, number, arguments)
    title = f"Memory of reading {SIZE} x {SIZE} images, {BATCH_SIZE} a batch"
    save_table("large_data", title, COLUMNS, rows)


def rows_of(name: str, number: int, arguments: argparse.Namespace) -> list[list[str]]:
    """The rows of a data set of one size, whose files are written and removed here."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="attnflow_large_") as folder:
        WAYS[name][0](Path(folder), number)
        apart(prepare, name, folder, number)
        for each in arguments.workers:
            how = (folder, number, each, arguments.batches, arguments.check)
            measured = apart(measure, name, *how)
            print(f"{name}, {number:,} images, {each} workers: {measured}", flush=True)
            sizes = [f"{n / MB:.0f}" for n in (measured.held, measured.most, measured.mapped)]
            rows.append([name, f"{number:,}", str(each), *sizes, f"{measured.rate:,.0f}"])
    return rows


if __name__ == "__main__":
    main()
