"""Users' own images: a tree of files, and a folder a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from unicodedata import normalize

import torch
from torch import Tensor
from typing_extensions import Unpack

from attnflow.data.finding import Found, entries, is_hidden, shown
from attnflow.data.image_files import ImageFileOptions, ImageFilesDataModule
from attnflow.data.samples import Samples
from attnflow.data.splits import Splits
from attnflow.errors import AttnFlowError
from attnflow.spec import DataSpec

__all__ = ["ClassFolderDataModule", "FolderOptions", "ImageFolderDataModule"]


class ImageFolderDataModule(ImageFilesDataModule):
    """Any tree of image files, scaled and centre-cropped to squares.

    Fixed split: that of :class:`~attnflow.data.splits.Splits`. Arguments are those of
    :class:`~attnflow.data.image_files.ImageFilesDataModule`, and

    Args:
        splits: the folder of each split within ``data_dir``; None takes the usual names; empty
            cuts all files 80 : 10 : 10, whatever their folders are called.
    """

    def __init__(
        self,
        data_dir: str,
        splits: Mapping[str, str] | None = None,
        **options: Unpack[ImageFileOptions],
    ) -> None:
        super().__init__(data_dir, **options)
        if splits is not None and not isinstance(splits, Mapping):
            raise AttnFlowError(
                f"data.splits: expected a folder for each of train, val and test, got {splits!r}."
            )
        self.split_names = None if splits is None else dict(splits)

    @cached_property
    def splits(self) -> Splits:
        """The files by split."""
        return Splits(self.data_dir, self.split_names)

    @property
    def first_split(self) -> str:
        return "test" if self.splits.only_evaluate else "train"

    def found(self, split: str) -> Found:
        return self.splits.found(split)

    def remark(self, split: str) -> str:
        return self.splits.remark


class FolderOptions(ImageFileOptions, total=False):
    """The arguments of :class:`ImageFolderDataModule`, which data sets of folders take."""

    splits: Mapping[str, str] | None


class ClassFolderDataModule(ImageFolderDataModule):
    """A folder for each class; the classes are numbered in the order of their names.

    Split and arguments are those of :class:`ImageFolderDataModule` (the class folders lie
    within the splits' folders where there are such), and

    Args:
        num_classes: how many class folders there are; None counts them, which needs the files
            before the model is made.
        classes: the names of the class folders, in the order of their labels; None sorts those
            there are. A checkpoint holds them, so that labels stay with other images.
    """

    def __init__(
        self,
        data_dir: str,
        num_classes: int | None = None,
        classes: Sequence[str] | None = None,
        **options: Unpack[FolderOptions],
    ) -> None:
        super().__init__(data_dir, **options)
        self.num_classes = num_classes
        self.named_classes = None if classes is None else check_class_names(classes)

    @property
    def spec(self) -> DataSpec:
        number = len(self.classes) if self.num_classes is None else self.num_classes
        return replace(super().spec, num_classes=number)

    @property
    def settled(self) -> dict[str, object]:
        return super().settled | {"classes": self.classes}

    @cached_property
    def classes(self) -> list[str]:
        """The names of the class folders, in the order of their labels.

        Raises:
            AttnFlowError: a class without images, or two whose names differ by case alone, or by
                how their accents are encoded (NFC or NFD).
        """
        if self.named_classes is not None:
            return self.named_classes
        names = sorted({self.class_of(file) for file in self.splits.all_files})
        alike: dict[str, str] = {}
        for name in names:
            other = alike.setdefault(normalize("NFC", normalize("NFC", name).casefold()), name)
            if other != name:
                by_case = normalize("NFC", other) != normalize("NFC", name)
                differ = "case" if by_case else "Unicode form (NFC, NFD)"
                raise AttnFlowError(
                    f"{shown(self.data_dir)}: expected one class folder a name, got {other} and "
                    f"{name}, which differ by {differ} alone."
                )
        for root in self.splits.roots:
            for entry in entries(root):
                if entry.is_dir() and not is_hidden(entry.name) and entry.name not in names:
                    raise AttnFlowError(
                        f"the class folder {shown(root / entry.name)}: expected images, or "
                        "data.classes=[...] that names the other classes, got no image."
                    )
        return names

    def remark(self, split: str) -> str:
        """Nothing: its folders are the classes."""
        return ""

    def class_of(self, file: Path) -> str:
        """The name of the class folder that a file lies in, however deep."""
        folders = self.splits.within(file).parts[:-1]
        if not folders:
            raise AttnFlowError(
                f"{shown(file)}: expected images in one folder a class, got one in no class folder."
            )
        return folders[0]

    def read(self, split: str) -> Samples:
        if self.num_classes not in (None, len(self.classes)):
            raise AttnFlowError(
                f"data.num_classes: expected {len(self.classes)}, the class folders of "
                f"{shown(self.data_dir)} ({', '.join(self.classes[:5])}, ...), got "
                f"{self.num_classes}."
            )
        there = {self.class_of(file) for file in self.files(split)}
        unknown, unseen = sorted(there - set(self.classes)), sorted(set(self.classes) - there)
        if unknown:
            raise AttnFlowError(
                f"{self.origin(split)}: expected folders of the classes "
                f"{', '.join(self.classes[:5])}, ..., got a class folder {unknown[0]}."
            )
        if split == "train" and unseen and self.named_classes is None:
            raise AttnFlowError(
                f"class {unseen[0]} of {shown(self.data_dir)}: expected an image or more to train "
                "on, got none."
            )
        return super().read(split)

    def sample(self, file: Path) -> dict[str, Tensor]:
        label = self.classes.index(self.class_of(file))
        return super().sample(file) | {"label": torch.tensor(label)}


def check_class_names(classes: Sequence[str]) -> list[str]:
    """The names; raises :class:`AttnFlowError` for what is no list of different names."""
    if isinstance(classes, Sequence) and not isinstance(classes, str):
        names = list(classes)
        if names and all(isinstance(name, str) for name in names) and len(set(names)) == len(names):
            return names
    raise AttnFlowError(f"data.classes: expected a list of different names, got {classes!r}.")
