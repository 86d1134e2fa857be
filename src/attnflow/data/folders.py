"""Users' own images: a tree of files, a folder a class, and pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from attnflow.data.base import SPLITS, DataSpec, ImageDataModule
from attnflow.data.bit_depth import check_num_bits, reduce_bits
from attnflow.data.decoding import decode, fit, image_files, load, size_of
from attnflow.errors import AttnFlowError, check_choice

__all__ = ["ClassFolderDataModule", "ImageFolderDataModule", "PairedFolderDataModule"]

# Shares of a folder that is cut into splits, as (start, end) of its shuffled files.
WHOLE = {"train": (0.0, 0.8), "val": (0.8, 0.9), "test": (0.9, 1.0)}
WITHOUT_TEST = {"train": (0.0, 0.9), "val": (0.9, 1.0)}


class ImageFolderDataModule(ImageDataModule):
    """Any tree of image files, scaled and centre-cropped to squares.

    Fixed split: the subfolders ``train``, ``val`` and ``test`` where there are such; where
    ``train`` and one of the others are, that one tests and a tenth of train validates; else the
    files, sorted by path and shuffled once with seed 0, are cut 80 : 10 : 10.

    Args:
        data_dir: the folder.
        size: side of the images; None takes them as they are, if all have the same size.
        channels: 3 for colour, 1 for grey.
        num_bits: bits of a grey value, 1 to 8.
        convert: turn grey into colour, or colour into grey, instead of refusing it.
        in_memory: decode once and keep all; False decodes at every read, after one that checks
            every file.
        skip_corrupt: leave files out that cannot be decoded, with a warning.
        global_batch_size, num_workers, seed, augment: as for every data module.
    """

    def __init__(
        self,
        data_dir: str,
        size: int | None = 32,
        channels: int = 3,
        num_bits: int = 8,
        convert: bool = False,
        in_memory: bool = True,
        skip_corrupt: bool = False,
        global_batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
        augment: Sequence[Callable] = (),
    ) -> None:
        super().__init__(global_batch_size, num_workers, seed, augment)
        check_choice("data.channels", channels, (1, 3))
        if size is not None and size < 2:
            raise AttnFlowError(f"data.size is {size}; 2 or more, or null, is accepted.")
        self.data_dir, self.size, self.channels = Path(data_dir), size, channels
        self.num_bits, self.convert = check_num_bits(num_bits), convert
        self.in_memory, self.skip_corrupt = in_memory, skip_corrupt

    @property
    def spec(self) -> DataSpec:
        return DataSpec((self.channels, *self.image_size), 2**self.num_bits)

    @cached_property
    def image_size(self) -> tuple[int, int]:
        """(height, width); of the first training file where ``size`` is None."""
        if self.size is None:
            return self.size_of(self.files("train")[0])
        return self.size, self.size

    def size_of(self, file: Path) -> tuple[int, int]:
        """(height, width) of the image in a file."""
        return size_of(file)

    def read(self, split: str) -> Dataset:
        files, reader = self.files(split), self.detached()
        readers = [partial(reader.sample, file) for file in files]
        return load(readers, self.in_memory, self.skip_corrupt)

    def sample(self, file: Path) -> dict[str, Tensor]:
        """What is read of one file: ``image``, and in subclasses what goes with it."""
        return {"image": self.fitted(decode(file, self.channels, self.convert), file)}

    def fitted(self, image: Tensor, file: Path) -> Tensor:
        """An image of ``file`` at the size and bit depth of the data set."""
        if self.size is None and tuple(image.shape[1:]) != self.image_size:
            raise AttnFlowError(
                f"{file} has size {tuple(image.shape[1:])} (height, width), unlike the "
                f"{self.image_size} of the first file; equal sizes, or a data.size to scale to, "
                "are accepted."
            )
        return reduce_bits(fit(image, self.image_size), self.num_bits)

    def files(self, split: str) -> list[Path]:
        """The files of a split, in a fixed order."""
        return split_files(self.data_dir, split)


class ClassFolderDataModule(ImageFolderDataModule):
    """A folder for each class; the classes are numbered in the order of their names.

    Split and arguments are those of :class:`ImageFolderDataModule` (the class folders lie
    within ``train``, ``val`` and ``test`` where there are such), and

    Args:
        num_classes: how many class folders there are; None counts them, which needs the files
            before the model is made.
    """

    def __init__(self, data_dir: str, num_classes: int | None = None, **options: object) -> None:
        super().__init__(data_dir, **options)
        self.num_classes = num_classes

    @property
    def spec(self) -> DataSpec:
        number = len(self.classes) if self.num_classes is None else self.num_classes
        return replace(super().spec, num_classes=number)

    @cached_property
    def classes(self) -> list[str]:
        """The names of the class folders, in the order of their labels."""
        return sorted({self.class_of(file) for file in image_files(self.data_dir)})

    def class_of(self, file: Path) -> str:
        """The name of the class folder that a file lies in, however deep."""
        folders = file.relative_to(self.data_dir).parts[:-1]
        if split_folders(self.data_dir):
            folders = folders[1:]
        if not folders:
            raise AttnFlowError(
                f"{file} lies in no class folder; images in one folder a class are accepted."
            )
        return folders[0]

    def read(self, split: str) -> Dataset:
        if self.num_classes not in (None, len(self.classes)):
            raise AttnFlowError(
                f"data.num_classes is {self.num_classes}, but {self.data_dir} has "
                f"{len(self.classes)} class folders ({', '.join(self.classes[:5])}, ...); their "
                "number is accepted."
            )
        return super().read(split)

    def sample(self, file: Path) -> dict[str, Tensor]:
        label = self.classes.index(self.class_of(file))
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
        spec = super().spec
        return replace(spec, condition_shape=spec.image_shape, condition_bins=spec.num_bins)

    def size_of(self, file: Path) -> tuple[int, int]:
        height, width = size_of(file)
        return height, width // 2 if self.image_dir is None else width

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
        return split_files(self.data_dir / self.image_dir, split)

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
        both = {"image": image, "condition": condition}
        return {name: self.fitted(x, file) for name, x in both.items()}

    def _by_name(self, folder: str) -> dict[str, Path]:
        """The files of a folder by their paths in it, without suffix."""
        root, named = self.data_dir / folder, {}
        for file in image_files(root):
            name = str(file.relative_to(root).with_suffix(""))
            if name in named:
                raise AttnFlowError(
                    f"{named[name]} and {file} differ in their suffix alone; one file a name is "
                    "accepted for pairs."
                )
            named[name] = file
        return named


def split_folders(folder: Path) -> list[str]:
    """Those of the folders ``train``, ``val`` and ``test`` that ``folder`` is split into.

    Raises:
        AttnFlowError: there is a folder to test or validate on, but none to train on.
    """
    there = [name for name in SPLITS if (folder / name).is_dir()]
    if there and "train" not in there:
        raise AttnFlowError(
            f"{folder} has a folder {' and '.join(there)} but no folder train; train with val, "
            "test or both, or none of them, is accepted."
        )
    return there


def split_files(folder: Path, split: str) -> list[Path]:
    """The image files of one split of ``folder``, in a fixed order."""
    there = split_folders(folder)
    if len(there) == len(SPLITS):
        return image_files(folder / split)
    if len(there) == 1:
        return _share(image_files(folder / "train"), WHOLE[split])
    if not there:
        return _share(image_files(folder), WHOLE[split])
    if split == "test":
        return image_files(folder / there[1])
    return _share(image_files(folder / "train"), WITHOUT_TEST[split])


def _share(files: list[Path], ends: tuple[float, float]) -> list[Path]:
    """A part of the files, shuffled once with seed 0; ends are shares of their number."""
    if len(files) < 10:
        raise AttnFlowError(
            f"{len(files)} images below {files[0].parent} are too few to cut into splits; 10 or "
            "more, or folders train, val and test, are accepted."
        )
    order = np.random.default_rng(0).permutation(len(files))
    start, stop = (round(end * len(files)) for end in ends)
    return [files[row] for row in sorted(order[start:stop])]
