"""Image data sets of the library ``datasets``: of the Hugging Face Hub, or of local files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from typing_extensions import Unpack

from attnflow.data.arrow_images import (
    ArrowImages,
    CellDecoder,
    check_rows,
    opened_cell,
    table_traits,
)
from attnflow.data.base import SPLITS, ImageDataModule, LoaderOptions
from attnflow.data.bit_depth import check_num_bits
from attnflow.data.decoding import read_image
from attnflow.data.folders import check_class_names
from attnflow.data.kept_stream import KeptStream, SplitOfStream
from attnflow.data.library import LibrarySet, import_datasets, release_memory
from attnflow.data.library_columns import LibraryColumns
from attnflow.data.named_splits import check_splits, rows_of
from attnflow.data.samples import Samples
from attnflow.data.transparency import parse_background
from attnflow.errors import ArgumentError, AttnFlowError, check_choice, check_count
from attnflow.spec import DataSpec
from attnflow.utils.files import WriteError
from attnflow.utils.validation import check_options

__all__ = ["HuggingFaceDataModule"]


class HuggingFaceDataModule(ImageDataModule):
    """Images in a column of a data set of the library ``datasets``.

    Memory-mapped: the library keeps Arrow files, rows of which are decoded at every read, so that
    memory hardly grows with the data set. Every image is decoded once before training, so that
    a bad one stops a run at its start.

    Streamed: the order of an epoch is a function of the seed and the epoch, and an interrupted
    epoch goes on bit for bit, neither of which a stream can keep. So ``prepare_data`` reads it
    once, decodes the images as they come, and keeps them at their size in .npy files below
    ``cache_dir``, which are then mapped: no compressed file is kept, and the first start waits
    for the whole stream. The length must be known: the files are made at their whole size, and a
    stream that breaks off is found out.

    Split: ``splits``; what is None there is cut from the training rows, a tenth each, shuffled
    once with seed 0.

    Args:
        path: a folder (parquet files, images with or without a folder a class, or what
            ``save_to_disk`` wrote), a ``.parquet`` or ``.arrow`` file, or ``user/name`` of the
            Hugging Face Hub. Code of a data set is never run.
        name: of one of the data set's configs.
        splits: the data set's split for each of train, val and test.
        image_column: of encoded images.
        label_column: of classes (``ClassLabel``), or of whole numbers from 0; None for none.
        num_classes: of a label column of numbers; None counts them in the training rows.
        classes: the names of the classes, in the order of their labels, which a checkpoint holds;
            others are refused.
        revision: branch, tag or commit of the Hub.
        streaming: read the data set as a stream, once.
        cache_dir: of the library's Arrow files and of streamed images; None for the library's.
        size: side of the images; None takes them as they are, if all have the same size.
        channels: 3 for colour, 1 for grey.
        num_bits: bits of a grey value, 1 to 8.
        convert: turn grey into colour, colour into grey, CMYK into both, instead of refusing it.
        background: what transparent images are laid over: the name or code of a colour, or a
            grey value from 0 to 255.
        skip_corrupt: leave images out that cannot be decoded, with a warning.
        check_images: how many images of each split, spread over it, are decoded before training;
            None for all.
        loader: as for every data module, :class:`~attnflow.data.base.ImageDataModule`.
    """

    def __init__(
        self,
        path: str,
        name: str | None = None,
        splits: Mapping[str, str | None] | None = None,
        image_column: str = "image",
        label_column: str | None = None,
        num_classes: int | None = None,
        classes: Sequence[str] | None = None,
        revision: str | None = None,
        streaming: bool = False,
        cache_dir: str | None = None,
        size: int | None = 32,
        channels: int = 3,
        num_bits: int = 8,
        convert: bool = False,
        background: str | int = "white",
        skip_corrupt: bool = False,
        check_images: int | None = None,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(**loader)
        texts = {"path": path, "name": name, "revision": revision, "cache_dir": cache_dir}
        columns = {"image_column": image_column, "label_column": label_column}
        flags = {"streaming": streaming, "convert": convert, "skip_corrupt": skip_corrupt}
        check_options(HuggingFaceDataModule, texts | columns | flags, "")
        check_choice("channels", channels, (1, 3))
        counts = {"size": (size, 2), "num_classes": (num_classes, 1)}
        counts["check_images"] = (check_images, 1)
        for option, (number, least) in counts.items():
            if number is not None:
                check_count(option, number, least)
        if skip_corrupt and check_images is not None:
            raise ArgumentError("check_images", "null where skip_corrupt is true", check_images)
        folder = None if cache_dir is None else Path(cache_dir).expanduser().absolute()
        source = LibrarySet(local_path(path), name, revision, folder)
        self.splits = check_splits(splits)
        self.columns = LibraryColumns(source, self.splits, image_column, label_column, streaming)
        self.num_classes = num_classes
        self.named_classes = None if classes is None else check_class_names(classes)
        self.size, self.channels, self.num_bits = size, channels, check_num_bits(num_bits)
        self.convert, self.background = convert, parse_background(background)
        self.skip_corrupt, self.check_images = skip_corrupt, check_images
        self._damaged: Counter[str] = Counter()

    @property
    def source(self) -> LibrarySet:
        """The library's data set."""
        return self.columns.source

    @property
    def spec(self) -> DataSpec:
        shape = (self.channels, *self.image_size)
        return DataSpec(shape, 2**self.num_bits, num_classes=self.number_of_classes)

    @property
    def settled(self) -> dict[str, object]:
        held: dict[str, object] = {"path": self.source.path}
        if self.source.cache_dir is not None:
            held["cache_dir"] = str(self.source.cache_dir)
        if self.columns.label_column is None:
            return held
        return held | {"num_classes": self.number_of_classes, "classes": self.classes}

    @property
    def writes_to(self) -> dict[str, Path]:
        folder = self.source.cache_dir
        return {} if folder is None else {"cache_dir": folder}

    @cached_property
    def image_size(self) -> tuple[int, int]:
        """(height, width); of the first image where ``size`` is None."""
        if self.size is not None:
            return self.size, self.size
        first = self.own_splits[0]
        name = f"row 0 of {self.columns.origin(first)}"
        cell = next(iter(self.columns.rows(first)))["image"]
        with opened_cell(cell, name, self.columns.streaming) as opened:
            image = read_image(opened, name)
        return image.height, image.width

    @cached_property
    def classes(self) -> list[str] | None:
        """The names of the classes in the order of their labels; None of mere numbers.

        Raises:
            AttnFlowError: a column that is none of classes, or other classes than a checkpoint's.
        """
        first = self.own_splits[0]
        names = self.columns.class_names(first)
        if self.named_classes not in (None, names):
            raise AttnFlowError(
                f"data.classes: expected {names}, those of {self.columns.origin(first)} in the "
                f"order of its labels, got {self.named_classes}."
            )
        return names

    @cached_property
    def number_of_classes(self) -> int | None:
        """How many classes there are; None without a label column."""
        if self.columns.label_column is None:
            return None
        if self.classes is None:
            return self.num_classes or max(int(self.labels(self.own_splits[0]).max()), 0) + 1
        if self.num_classes not in (None, len(self.classes)):
            raise AttnFlowError(
                f"data.num_classes: expected {len(self.classes)}, the classes of column "
                f"{self.columns.label_column}, got {self.num_classes}."
            )
        return len(self.classes)

    @cached_property
    def kept(self) -> KeptStream:
        """The images of a stream, once they are read."""
        folder = self.source.cache_dir or Path(import_datasets().config.HF_DATASETS_CACHE)
        columns = [self.columns.image_column, self.columns.label_column]
        where = [self.source.path, self.source.name, *self.source.version]
        decided_by = [where, columns, self.splits]
        return KeptStream(folder / "attnflow", decided_by, self._decoder(8), self.skip_corrupt)

    @property
    def own_splits(self) -> list[str]:
        """Those of train, val and test that are splits of the data set, not cut from train."""
        return [split for split in SPLITS if self.splits[split] is not None]

    def prepare_data(self) -> None:
        """Download what is missing; of a stream, read it, where it was not read yet."""
        if not self.columns.streaming:
            self.source.prepare()
            return
        if self.kept.is_whole:
            return
        columns = self.columns
        read = {
            split: SplitOfStream(columns.rows(split), columns.length(split), columns.origin(split))
            for split in self.own_splits
        }
        try:
            self.kept.make(read)
        except WriteError as error:
            raise AttnFlowError(
                f"{str(error).removesuffix('.')}; data.cache_dir=PATH names another folder."
            ) from error

    def read(self, split: str) -> Samples:
        held, origin = self._held(split), self.origin(split)
        self.prepare_data()
        labels = None if self.columns.label_column is None else self._checked_labels(held)
        if self.columns.streaming:
            self._damaged[split] = self.kept.damaged(held)
            rows = rows_of(split, self.splits, self.kept.number(held), origin)
            return self.kept.images(held, rows, self.num_bits, labels)
        table = self.columns.rows(held)
        rows = rows_of(split, self.splits, len(table), origin)
        samples = ArrowImages(table, rows, self._decoder(self.num_bits), origin)
        readable = check_rows(samples, self.check_images, self.skip_corrupt)
        self._damaged[split] = len(samples) - len(readable)
        release_memory()
        return readable

    def traits(self, split: str) -> Iterable[bytes] | None:
        """Of a table, what its rows tell without being decoded; nothing of a stream."""
        if self.columns.streaming:
            return None
        held = self._held(split)
        table = self.columns.rows(held)
        rows = rows_of(split, self.splits, len(table), self.origin(split))
        return table_traits(table, rows)

    def labels(self, split: str) -> np.ndarray:
        """The labels of all rows of one of the data set's splits: (N,)."""
        if not self.columns.streaming:
            return self.columns.labels(split)
        self.prepare_data()
        return self.kept.labels(split)

    def origin(self, split: str) -> str:
        return self.columns.origin(self._held(split))

    def left_out(self, split: str) -> Counter[str]:
        return Counter({"damaged": self._damaged[split]})

    def _held(self, split: str) -> str:
        """The split that holds another one's rows: itself, or train, which it is cut from."""
        return "train" if self.splits[split] is None else split

    def _decoder(self, num_bits: int) -> CellDecoder:
        scale = self.size is not None
        parts = (self.image_size, scale, self.channels, self.convert, self.background)
        return CellDecoder(*parts, num_bits)

    def _checked_labels(self, split: str) -> np.ndarray:
        """The labels of a split; raises :class:`AttnFlowError` for those that are of no class."""
        number = self.number_of_classes or 0  # first: it knows whether the column is of classes
        labels = self.labels(split)
        if labels.min() < 0 or labels.max() >= number:
            raise AttnFlowError(
                f"data.label_column: expected labels from 0 to {number - 1} in column "
                f"{self.columns.label_column} of {self.columns.origin(split)}, got {labels.min()} "
                f"to {labels.max()}."
            )
        return labels


def local_path(path: str) -> str:
    """The absolute path of what exists here; any other name as it is."""
    expanded = os.path.expanduser(path)
    return os.path.abspath(expanded) if os.path.exists(expanded) or expanded != path else path
