"""Users' own images: a tree of files, a folder a class, and pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from attnflow.data.base import SPLITS, DataSpec, ImageDataModule
from attnflow.data.bit_depth import check_num_bits, reduce_bits
from attnflow.data.decoding import decode, fit, image_files, load
from attnflow.errors import AttnFlowError, check_choice

__all__ = ["ClassFolderDataModule", "ImageFolderDataModule", "PairedFolderDataModule"]

TRAIN_SHARE, VAL_SHARE = 0.8, 0.1


class ImageFolderDataModule(ImageDataModule):
    """Any tree of image files, scaled and centre-cropped to squares.

    Fixed split: the subfolders ``train``, ``val`` and ``test`` where there are such; where only
    ``train`` and ``val`` are, val tests and a tenth of train validates; else the files, sorted
    by path and shuffled once with seed 0, are cut 80 : 10 : 10.

    Args:
        data_dir: the folder.
        size: side of the images.
        channels: 3 for colour, 1 for grey.
        num_bits: bits of a grey value, 1 to 8.
        convert: turn grey into colour, or colour into grey, instead of refusing it.
        in_memory: decode once and keep all, or decode at every read.
        skip_corrupt: leave files out that cannot be decoded, with a warning; in memory only.
        batch_size, num_workers, seed, augment: as for every data module.
    """

    def __init__(
        self,
        data_dir: str,
        size: int = 32,
        channels: int = 3,
        num_bits: int = 8,
        convert: bool = False,
        in_memory: bool = True,
        skip_corrupt: bool = False,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
        augment: Sequence[Callable] = (),
    ) -> None:
        super().__init__(batch_size, num_workers, seed, augment)
        check_choice("data.channels", channels, (1, 3))
        if size < 2:
            raise AttnFlowError(f"data.size is {size}; 2 or more is accepted.")
        if skip_corrupt and not in_memory:
            raise AttnFlowError(
                "data.skip_corrupt is true with data.in_memory=false, where files are not read "
                "before training; in_memory=true is accepted."
            )
        self.data_dir, self.size, self.channels = Path(data_dir), size, channels
        self.num_bits, self.convert = check_num_bits(num_bits), convert
        self.in_memory, self.skip_corrupt = in_memory, skip_corrupt

    @property
    def spec(self) -> DataSpec:
        return DataSpec((self.channels, self.size, self.size), 2**self.num_bits)

    def read(self, split: str) -> Dataset:
        readers = [partial(self.sample, file) for file in self.files(split)]
        return load(readers, self.in_memory, self.skip_corrupt)

    def sample(self, file: Path) -> dict[str, Tensor]:
        """What is read of one file: ``image``, and in subclasses what goes with it."""
        image = fit(decode(file, self.channels, self.convert), (self.size, self.size))
        return {"image": reduce_bits(image, self.num_bits)}

    def files(self, split: str) -> list[Path]:
        """The files of a split, in a fixed order."""
        return split_files(self.data_dir, split, image_files)


class ClassFolderDataModule(ImageFolderDataModule):
    """A folder for each class; the classes are numbered in the order of their names.

    Split and arguments are those of :class:`ImageFolderDataModule` (the class folders lie
    within ``train``, ``val`` and ``test`` where there are such), and

    Args:
        num_classes: how many class folders there are.
    """

    def __init__(self, data_dir: str, num_classes: int, **options: object) -> None:
        super().__init__(data_dir, **options)
        self.num_classes = num_classes

    @property
    def spec(self) -> DataSpec:
        shape = (self.channels, self.size, self.size)
        return DataSpec(shape, 2**self.num_bits, num_classes=self.num_classes)

    def read(self, split: str) -> Dataset:
        self.classes = sorted({file.parent.name for file in image_files(self.data_dir)})
        if len(self.classes) != self.num_classes:
            raise AttnFlowError(
                f"data.num_classes is {self.num_classes}, but {self.data_dir} has "
                f"{len(self.classes)} class folders ({', '.join(self.classes[:5])}, ...); their "
                "number is accepted."
            )
        return super().read(split)

    def sample(self, file: Path) -> dict[str, Tensor]:
        label = self.classes.index(file.parent.name)
        return super().sample(file) | {"label": torch.tensor(label)}


class PairedFolderDataModule(ImageFolderDataModule):
    """Pairs of images: two halves of one file (pix2pix), or two folders with the same names.

    Split and arguments are those of :class:`ImageFolderDataModule`, and

    Args:
        condition: which half of a file is the condition, ``left`` or ``right``.
        image_dir, condition_dir: names of the two folders within ``data_dir``, where a pair is
            two files of the same name (whatever the suffix); None for halves of one file.
    """

    def __init__(
        self,
        data_dir: str,
        condition: str = "left",
        image_dir: str | None = None,
        condition_dir: str | None = None,
        **options: object,
    ) -> None:
        super().__init__(data_dir, **options)
        check_choice("data.condition", condition, ("left", "right"))
        if (image_dir is None) != (condition_dir is None):
            raise AttnFlowError(
                f"data.image_dir is {image_dir} and data.condition_dir is {condition_dir}; both "
                "or neither is accepted."
            )
        self.condition, self.image_dir, self.condition_dir = condition, image_dir, condition_dir

    @property
    def spec(self) -> DataSpec:
        shape, bins = (self.channels, self.size, self.size), 2**self.num_bits
        return DataSpec(shape, bins, condition_shape=shape, condition_bins=bins)

    def files(self, split: str) -> list[Path]:
        if self.image_dir is None:
            return super().files(split)
        images, conditions = self._by_name(self.image_dir), self._by_name(self.condition_dir)
        alone = sorted(images.keys() ^ conditions.keys())
        if alone:
            held, lacking = self.image_dir, self.condition_dir
            if alone[0] in conditions:
                held, lacking = lacking, held
            raise AttnFlowError(
                f"{alone[0]} is in {self.data_dir / held} but has no partner in "
                f"{self.data_dir / lacking} ({len(alone)} such in all); the same names in both "
                "are accepted."
            )
        self.partners = {file: conditions[name] for name, file in images.items()}
        return split_files(self.data_dir / self.image_dir, split, image_files)

    def sample(self, file: Path) -> dict[str, Tensor]:
        if self.image_dir is not None:
            pair = (file, self.partners[file])
            image, condition = (decode(f, self.channels, self.convert) for f in pair)
        else:
            whole = decode(file, self.channels, self.convert)
            if whole.shape[2] % 2:
                raise AttnFlowError(
                    f"{file} is {whole.shape[2]} pixels wide; a pair side by side, of an even "
                    "width, is accepted."
                )
            condition, image = whole.chunk(2, 2)
            if self.condition == "right":
                condition, image = image, condition
        if image.shape != condition.shape:
            raise AttnFlowError(
                f"the pair of {file} has sizes {tuple(image.shape[1:])} and "
                f"{tuple(condition.shape[1:])} (height, width); equal sizes are accepted."
            )
        size = (self.size, self.size)
        both = {"image": image, "condition": condition}
        return {name: reduce_bits(fit(x, size), self.num_bits) for name, x in both.items()}

    def _by_name(self, folder: str) -> dict[str, Path]:
        root = self.data_dir / folder
        return {str(file.relative_to(root).with_suffix("")): file for file in image_files(root)}


def split_files(folder: Path, split: str, find: Callable[[Path], list[Path]]) -> list[Path]:
    """The files of one split of ``folder``, which ``find`` lists in a fixed order."""
    there = [name for name in SPLITS if (folder / name).is_dir()]
    if len(there) == len(SPLITS):
        return find(folder / split)
    if there == ["train", "val"]:
        if split == "test":
            return find(folder / "val")
        return _shares(find(folder / "train"), {"train": (0, 0.9), "val": (0.9, 1)}[split])
    ends = {
        "train": (0, TRAIN_SHARE),
        "val": (TRAIN_SHARE, TRAIN_SHARE + VAL_SHARE),
        "test": (TRAIN_SHARE + VAL_SHARE, 1),
    }
    return _shares(find(folder), ends[split])


def _shares(files: list[Path], ends: tuple[float, float]) -> list[Path]:
    """A part of the files, shuffled once with seed 0; ends are shares of their number."""
    if len(files) < 10:
        raise AttnFlowError(
            f"{len(files)} images below {files[0].parent} are too few to cut into splits; 10 or "
            "more, or folders train, val and test, are accepted."
        )
    order = np.random.default_rng(0).permutation(len(files))
    start, stop = (round(end * len(files)) for end in ends)
    return [files[row] for row in sorted(order[start:stop])]
