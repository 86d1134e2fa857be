"""Downsampled ImageNet, from its batch files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from typing_extensions import Unpack

from attnflow.data.base import ImageDataModule, LoaderOptions
from attnflow.data.batch_files import read_arrays
from attnflow.data.bit_depth import check_num_bits
from attnflow.data.finding import data_folder, shown
from attnflow.data.mapped import MappedImages, create_npy, not_ours, read_npy
from attnflow.errors import AttnFlowError, check_choice
from attnflow.spec import DataSpec
from attnflow.utils.files import write_whole

__all__ = ["DownsampledImageNetDataModule"]

NUM_VAL = 10_000
FILES = {
    "train": tuple(f"train_data_batch_{number}" for number in range(1, 11)),
    "test": ("val_data",),
}
REMEDY = "without it and its partner of images or labels, both are made anew from the batch files."


class DownsampledImageNetDataModule(ImageDataModule):
    """ImageNet at 32 x 32 or 64 x 64 (Chrabaszcz et al., 2017): colour images, 1,000 classes.

    Reads the pickled batch files ``train_data_batch_1`` to ``10`` and ``val_data``, which need
    an account at image-net.org and so are never downloaded. ``prepare_data`` writes them once
    as .npy files, which are then mapped and not loaded: memory stays bounded.

    Fixed split: ``val_data`` tests (50,000 images); of the training images, shuffled once with
    seed 0, the last 10,000 (at most a tenth) validate.

    Args:
        data_dir: the folder of the batch files.
        size: 32 or 64.
        num_bits: bits of a grey value, 1 to 8.
        loader: as for every data module, :class:`~attnflow.data.base.ImageDataModule`.
    """

    def __init__(
        self,
        data_dir: str,
        size: int = 32,
        num_bits: int = 8,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(**loader)
        check_choice("size", size, (32, 64))
        self.data_dir, self.size = data_folder(data_dir), size
        self.num_bits = check_num_bits(num_bits)

    @property
    def spec(self) -> DataSpec:
        return DataSpec((3, self.size, self.size), 2**self.num_bits, num_classes=1_000)

    @property
    def writes_to(self) -> dict[str, Path]:
        waiting = [f for n, f in FILES.items() if not self._array(n, "labels").is_file()]
        files = (self.data_dir / file for listed in waiting for file in listed)
        return {"data_dir": self.data_dir} if any(file.is_file() for file in files) else {}

    def prepare_data(self) -> None:
        """Convert the batch files; where there are none of training, those of the test alone."""
        wanted = {n: f for n, f in FILES.items() if not self._array(n, "labels").is_file()}
        files = [file for listed in wanted.values() for file in listed]
        missing = [file for file in files if not (self.data_dir / file).is_file()]
        if missing == list(FILES["train"]):
            del wanted["train"]
        elif missing:
            raise self._lacks(missing)
        for name, listed in wanted.items():
            self._convert(name, [self.data_dir / file for file in listed])

    def read(self, split: str) -> MappedImages:
        self.prepare_data()
        name = "test" if split == "test" else "train"
        if not self._array(name, "labels").is_file():
            raise self._lacks(FILES[name])
        labels = read_npy(self._array(name, "labels"), np.int64, (), REMEDY)
        if labels.size and not 0 <= labels.min() <= labels.max() < 1000:
            raise not_ours(self._array(name, "labels"), "labels that are not 0 to 999", REMEDY)
        images = read_npy(self._array(name, "images"), np.uint8, (3, self.size, self.size), REMEDY)
        if len(images) != len(labels):
            raise not_ours(self._array(name, "images"), f"{len(images)} images", REMEDY)
        rows = np.arange(len(labels))
        if split != "test":
            num_val = min(NUM_VAL, len(labels) // 10)
            rows = np.random.default_rng(0).permutation(len(labels))
            rows = rows[:-num_val] if split == "train" else rows[-num_val:]
        file = self._array(name, "images")
        return MappedImages(file, rows, self.num_bits, label=torch.tensor(labels))

    def _lacks(self, missing: Sequence[str]) -> AttnFlowError:
        return AttnFlowError(
            f"downsampled ImageNet in {shown(self.data_dir)} (data.data_dir): expected the batch "
            f"files of the {self.size} x {self.size} release from image-net.org, got no "
            f"{', '.join(missing)}."
        )

    def _array(self, name: str, kind: str) -> Path:
        return self.data_dir / f"{name}_{self.size}_{kind}.npy"

    def _convert(self, name: str, files: Sequence[Path]) -> None:
        """Batch files to two .npy files; one batch at a time, renamed when complete.

        Raises:
            WriteError: the disk is full, or whatever else is wrong with it.
        """
        labels = [read_batch(file, self.size)[1] for file in files]
        shape = (sum(map(len, labels)), 3, self.size, self.size)
        temporary = self._array(name, "images.tmp")
        images = create_npy(temporary, shape)
        start = 0
        for file in files:
            batch, _ = read_batch(file, self.size)
            images[start : start + len(batch)] = batch
            start += len(batch)
        images.flush()
        del images
        temporary.replace(self._array(name, "images"))
        # The labels come last: where they are, all is.
        content = io.BytesIO()
        np.save(content, np.concatenate(labels))
        write_whole(self._array(name, "labels"), content.getbuffer())


def read_batch(file: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, size, size), uint8, and labels (N,) from 0, of one batch file.

    Raises:
        AttnFlowError: a file that is damaged, or of another size, or of other labels.
    """
    try:
        batch = read_arrays(file)
        rows, labels = np.asarray(batch["data"]), np.asarray(batch["labels"], dtype=np.int64)
    except Exception as error:  # of a damaged file, its reader can raise anything
        raise AttnFlowError(
            f"{shown(file)}: expected a batch file of downsampled ImageNet, got one that cannot be "
            f"read ({error})."
        ) from error
    if rows.ndim != 2 or rows.shape[1] != 3 * size**2:
        raise AttnFlowError(
            f"{file}: expected rows of {3 * size**2} values, a {size} x {size} colour image "
            f"(data.size), got rows of shape {rows.shape[1:]}."
        )
    if rows.dtype.kind not in "iu" or (rows.size and not 0 <= rows.min() <= rows.max() <= 255):
        raise AttnFlowError(f"{file}: expected grey values from 0 to 255, got {rows.dtype}.")
    if len(labels) != len(rows) or len(labels) == 0 or labels.min() < 1 or labels.max() > 1000:
        raise AttnFlowError(
            f"{file}: expected a label from 1 to 1000 for each image, got {len(rows)} images with "
            f"{len(labels)} labels."
        )
    return rows.astype(np.uint8, copy=False).reshape(-1, 3, size, size), labels - 1
