"""The division of a folder's image files into training, validation and test."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from attnflow.data.base import SPLITS
from attnflow.data.decoding import image_suffixes
from attnflow.data.finding import (
    FileList,
    Found,
    entries,
    find_files,
    is_hidden,
    printable,
    shown,
)
from attnflow.errors import AttnFlowError

__all__ = ["Splits", "find_images"]

# The usual names of a split's folder, in lower case.
NAMES = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "vld", "dev"),
    "test": ("test", "testing", "tst"),
}
SPLIT_OF = {name: split for split, names in NAMES.items() for name in names}
# Shares of a folder that is cut into splits, as (start, end) of its shuffled files.
WHOLE = {"train": (0.0, 0.8), "val": (0.8, 0.9), "test": (0.9, 1.0)}
WITHOUT_TEST = {"train": (0.0, 0.9), "val": (0.9, 1.0)}
# The gap between the words of a folder's name: train_2017, trainA.
BETWEEN_WORDS = re.compile("[^A-Za-z]+|(?<=[a-z])(?=[A-Z])")
REMEDY = "data.splits={train: FOLDER, ...} names them, data.splits={} cuts all that there is"


class Splits:
    """The image files of a folder, by split.

    The subfolders ``train``, ``val`` and ``test`` (:data:`NAMES`) where there are such; where
    ``train`` and one of the others are, that one tests and a tenth of train validates; else the
    files, sorted by path and shuffled once with seed 0, are cut 80 : 10 : 10. A folder without
    training images can be tested on.

    Args:
        folder: that holds them.
        named: the folder of each split within it, for other names than the usual ones; empty
            where no folder is a split's.
        fewest: files that are cut into splits; each split gets one at least.

    Raises:
        AttnFlowError: at the first use: folders that would be ignored, that share images, or
            whose split is in doubt; no image in one of them; a folder within a split's that is
            called like another split, unless all splits have one of its name, as of a class.
    """

    def __init__(
        self, folder: Path, named: Mapping[str, str] | None = None, fewest: int = 10
    ) -> None:
        self.folder, self.named, self.fewest = folder, named, fewest
        self._looked_through: dict[Path, Found] = {}
        self._usual: dict[Path, str] = {}  # the folders that are splits' by their names alone

    @cached_property
    def folders(self) -> dict[str, Path]:
        """The folder of each split that has one."""
        if self.named is not None:
            return self._named_folders(self.named)
        usual = self._usual_folders()
        if usual:
            self._check_none_beside(usual)
            self._usual = {folder: split for split, folder in usual.items()}
        else:
            self._check_none_below()
        return usual

    def found(self, split: str) -> Found:
        """The files of a split, and what was left out of the folder that they lie in."""
        there = self.folders
        if not there:
            return self._share(self.folder, WHOLE, split)
        if self.only_evaluate:
            return self._without_train(split)
        if len(there) == 1:
            return self._share(there["train"], WHOLE, split)
        if len(there) == len(SPLITS):
            return self._images(there[split])
        if split == "test":
            return self._images(there["val" if "val" in there else "test"])
        return self._share(there["train"], WITHOUT_TEST, split)

    @property
    def available(self) -> list[str]:
        """The splits that there are files of."""
        if not self.only_evaluate:
            return list(SPLITS)
        return ["val", "test"] if "val" in self.folders else ["test"]

    @property
    def roots(self) -> list[Path]:
        """The folders that all files lie in: one a split, or all in one."""
        return list(self.folders.values()) or [self.folder]

    @property
    def all_files(self) -> Iterator[Path]:
        """The files of all splits, one after the other."""
        return (file for root in self.roots for file in self._images(root).files)

    @property
    def real_files(self) -> dict[Hashable, str]:
        """The files of all splits, each by what it is behind all links."""
        return {real: file for root in self.roots for real, file in self._images(root).real.items()}

    @property
    def only_evaluate(self) -> bool:
        """Whether there is a folder to validate or test on, but none to train on."""
        return bool(self.folders) and "train" not in self.folders

    @cached_property
    def remark(self) -> str:
        """Which folders were cut into splits as if they were one, lest they were meant as splits.

        Nothing where the user has said so, or where images lie beside them.
        """
        if self.named is not None or self.folders:
            return ""
        found = self._images(self.folder).files
        within = sorted({folder.split(os.sep)[0] for folder in folders_of(found, self.folder)})
        if len(within) < 2 or "" in within:
            return ""
        told = [printable(name) for name in within[:5]] + ["..."] * (len(within) > 5)
        return f", cut from its {len(within):,} folders together ({', '.join(told)})"

    def within(self, file: Path) -> Path:
        """The path of a file within its split's folder."""
        root = next(root for root in self.roots if file.is_relative_to(root))
        return file.relative_to(root)

    def _without_train(self, split: str) -> Found:
        """Find evaluation images in a folder without training images."""
        there = self.folders
        if split == "train" or (split == "val" and split not in there):
            raise AttnFlowError(
                f"{shown(self.folder)}: expected a folder train beside val, test or both, or none "
                f"of them, got {' and '.join(there)} alone."
            )
        return self._images(there.get(split) or there["val"])

    def _share(self, folder: Path, shares: Mapping[str, tuple[float, float]], split: str) -> Found:
        """A split's part of a folder's files, which are shuffled once with seed 0."""
        found = self._images(folder)
        number, fewest = len(found.files), max(self.fewest, len(shares))
        if number < fewest:
            raise AttnFlowError(
                f"{shown(folder)}: expected {fewest} images or more to cut into splits, or folders "
                f"train, val and test, got {number} images."
            )
        order = np.random.default_rng(0).permutation(number)
        start, stop = share(number, shares, split)
        files = FileList(folder, (str(found.files[row]) for row in np.sort(order[start:stop])))
        return replace(found, files=files)

    def _images(self, folder: Path) -> Found:
        """The images below a folder, looked for once, and none of another split's among them."""
        if folder not in self._looked_through:
            found = find_images(folder)
            self._check_none_within(folder, found)
            for other in self._looked_through.values():
                common = [other.real[file] for file in found.real.keys() & other.real.keys()]
                if common:
                    raise AttnFlowError(
                        f"{shown(folder)} and {shown(other.folder)}: expected splits without a "
                        f"common image, got {len(common)}, {printable(min(common))} the first."
                    )
            self._looked_through[folder] = found
        return self._looked_through[folder]

    def _named_folders(self, named: Mapping[str, str]) -> dict[str, Path]:
        unknown = sorted(set(named) - set(SPLITS))
        if unknown:
            raise AttnFlowError(
                f"data.splits: expected folders of {', '.join(SPLITS)}, got one of {unknown[0]!r}."
            )
        for split, name in named.items():
            if not isinstance(name, str):
                raise AttnFlowError(f"data.splits.{split}: expected a folder's name, got {name!r}.")
            if list(named.values()).count(name) > 1:
                raise AttnFlowError(f"data.splits: expected a folder for each, got {name} twice.")
        return {split: self.folder / named[split] for split in SPLITS if split in named}

    def _usual_folders(self) -> dict[str, Path]:
        """Find the folders just below that have a split's usual name."""
        there: dict[str, Path] = {}
        for entry in self._entries():
            split = SPLIT_OF.get(entry.name.lower())
            if split is not None and not os.path.exists(entry):
                raise AttnFlowError(
                    f"{shown(entry)}: expected the folder of the {split} split, got a broken link."
                )
            if split is None or not entry.is_dir():
                continue
            if split in there:
                raise AttnFlowError(
                    f"{shown(self.folder)}: expected one folder of the {split} split, got "
                    f"{there[split].name} and {entry.name} ({REMEDY})."
                )
            there[split] = entry
        return {split: there[split] for split in SPLITS if split in there}

    def _check_none_beside(self, usual: Mapping[str, Path]) -> None:
        """Raise where images lie beside the splits' folders, as they would be ignored."""
        for entry in self._entries():
            if entry in usual.values():
                continue
            if entry.is_dir():
                ignored = find_files(entry, image_suffixes()).files
            else:
                ignored = entry.suffix.lower() in image_suffixes()
            if ignored:
                raise AttnFlowError(
                    f"{shown(self.folder)}: expected folders of splits alone, got {shown(entry)} "
                    f"beside {', '.join(usual)}, which would be ignored ({REMEDY})."
                )

    def _check_none_below(self) -> None:
        """Raise where a folder among those to be cut has a name like a split's."""
        within = folders_of(self._images(self.folder).files, self.folder)
        lowered = {folder.lower() for folder in within}
        for folder in sorted(within):
            if splits_in(folder) or has_counterpart(folder.lower(), lowered):
                raise AttnFlowError(
                    f"{shown(self.folder / folder)}: expected train, val and test just below "
                    "data.data_dir, got a folder that is called as if it held a split, but would "
                    f"be mixed with all other images ({REMEDY})."
                )

    def _check_none_within(self, folder: Path, found: Found) -> None:
        """Raise where a folder within a split's is called like another split, and is no class.

        Every split has a folder of the same name then.
        """
        split = self._usual.get(folder)
        if split is None:
            return
        others = [other for other in self._usual if other != folder]
        for within in sorted(folders_of(found.files, folder)):
            is_class = bool(others) and all(os.path.isdir(other / within) for other in others)
            if splits_in(within) - {split} and not is_class:
                named = ", ".join(f"{split}: {there.name}" for there, split in self._usual.items())
                raise AttnFlowError(
                    f"{shown(folder / within)}: expected the folders of other splits beside "
                    f"{folder.name}, got one within it that is called as if it held another split, "
                    f"but would be mixed with its images (data.splits={{{named}}} mixes them)."
                )

    def _entries(self) -> list[Path]:
        """List the entries of the folder that may be data."""
        there = entries(self.folder) if os.path.isdir(self.folder) else []
        return [self.folder / entry.name for entry in there if not is_hidden(entry.name)]


def folders_of(files: Sequence[Path], folder: Path) -> set[str]:
    """The folders within ``folder`` that files lie in; "" for itself."""
    if isinstance(files, FileList):
        return files.folders
    return {os.path.dirname(os.path.relpath(file, folder)) for file in files}


def splits_in(name: str) -> set[str]:
    """The splits whose usual names are among the words of a folder's path."""
    words = {word.lower() for word in BETWEEN_WORDS.split(name)}
    return {SPLIT_OF[word] for word in SPLIT_OF.keys() & words}


def has_counterpart(name: str, others: Collection[str]) -> bool:
    """Whether a folder and one of the others differ by their split alone: trainset and testset."""
    evaluated = NAMES["val"] + NAMES["test"]
    return any(
        train in name and name.replace(train, split) in others
        for train in NAMES["train"]
        for split in evaluated
    )


def find_images(folder: Path) -> Found:
    """All image files below ``folder``.

    Raises:
        AttnFlowError: there is no such folder, or no image in it.
    """
    found = find_files(folder, image_suffixes())
    if not found.files:
        left_out = ", ".join(f"{n} {reason}" for reason, n in found.left_out.most_common(5))
        raise AttnFlowError(
            f"the folder {shown(folder)}: expected .png, .jpg or other image files, got no "
            f"image{f' but {left_out}' if left_out else ''}."
        )
    return found


def share(number: int, shares: Mapping[str, tuple[float, float]], split: str) -> tuple[int, int]:
    """Where a split's part of so many files starts and stops: one file or more for each split."""
    start, stop, others = 0, 0, len(shares)
    for name, (_, end) in shares.items():
        others -= 1
        start, stop = stop, min(round(end * number), number - others)
        if name == split:
            break
    return start, stop
