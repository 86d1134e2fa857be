"""The columns of images and labels in the splits of a data set of the library ``datasets``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnflow.data.finding import printable
from attnflow.data.library import LibrarySet, import_datasets
from attnflow.data.named_splits import NamedSplits
from attnflow.errors import AttnFlowError

__all__ = ["LibraryColumns"]


@dataclass(frozen=True)
class LibraryColumns:
    """The rows of a split: ``image``, still encoded, and ``label`` where there is one.

    Attributes:
        source: the data set.
        splits: its split for each of train, val and test.
        image_column, label_column: their names there; None for no label.
        streaming: whether rows come as a stream instead of a memory-mapped table.
    """

    source: LibrarySet
    splits: NamedSplits
    image_column: str
    label_column: str | None
    streaming: bool

    def origin(self, split: str) -> str:
        """Name a split for messages."""
        return f"{self.splits[split]} of {printable(self.source.path)}"

    def rows(self, split: str) -> Any:
        """The library's table or stream of both columns.

        Raises:
            AttnFlowError: as for :meth:`whole`; a column that is missing, or not of images.
        """
        library, found = import_datasets(), self.whole(split)
        features = self._features(split)
        feature = self._feature(split, "image_column")
        if not holds_images(feature, library):
            there = [name for name, each in features.items() if holds_images(each, library)]
            named = f" ({', '.join(there)})" if there else ""
            raise AttnFlowError(
                f"data.image_column: expected a column of images{named}, got "
                f"{self.image_column!r} of {self.origin(split)}, of type {feature}."
            )
        names = {self.image_column: "image"}
        if self.label_column is not None:
            self._feature(split, "label_column")
            names[self.label_column] = "label"
        if isinstance(feature, library.Image):  # first, or a stream would decode by its own rules
            found = found.cast_column(self.image_column, library.Image(decode=False))
        found = found.select_columns(list(names))
        return found.rename_columns({old: new for old, new in names.items() if old != new})

    def whole(self, split: str) -> Any:
        """The library's table or stream of a split, with all its columns.

        Raises:
            AttnFlowError: the data set has no such split, or an empty one.
        """
        name = self.splits[split]
        if name is None:
            raise AttnFlowError(
                "data.splits.train: expected a split of the data set to train on, got null."
            )
        sizes = None if self.streaming else self.source.sizes()
        there = self.source.streams if sizes is None else sizes
        if name not in there:
            null = "" if split == "train" else ", or null to cut it from train"
            raise AttnFlowError(
                f"data.splits.{split}: expected one of {', '.join(map(str, there))}, the splits of "
                f"{printable(self.source.path)}{null}, got {name!r}."
            )
        if sizes is None:
            return self.source.streams[name]
        if sizes[name] == 0:
            raise AttnFlowError(f"{self.origin(split)}: expected a row or more, got none.")
        return self.source.table(name)

    def length(self, split: str) -> int:
        """The number of rows of a stream; raises :class:`AttnFlowError` where it is unknown."""
        length = self.source.length(self.splits[split] or "")
        if length is None:
            raise AttnFlowError(
                "data.streaming: expected a data set that tells how many rows its splits have, or "
                f"data.streaming=false, got {self.origin(split)}, which does not."
            )
        return length

    def class_names(self, split: str) -> list[str] | None:
        """The names of the classes in the order of their labels; None of whole numbers.

        Raises:
            AttnFlowError: a column that is missing, or of neither.
        """
        feature = self._feature(split, "label_column")
        names = getattr(feature, "names", None)
        if names is None and not str(getattr(feature, "dtype", "")).startswith(("int", "uint")):
            raise AttnFlowError(
                "data.label_column: expected a column of classes or of whole numbers, got "
                f"{self.label_column!r} of {self.origin(split)}, of type {feature}."
            )
        return names

    def labels(self, split: str) -> np.ndarray:
        """The labels of all rows of a table: (N,).

        Raises:
            AttnFlowError: a row without one.
        """
        column = self.rows(split).select_columns(["label"]).with_format("arrow")
        labels = column[:]["label"].to_numpy()
        if labels.dtype.kind not in "iu":  # a missing one makes floats of all
            raise AttnFlowError(
                f"data.label_column: expected a label in every row of column {self.label_column} "
                f"of {self.origin(split)}, got rows without one."
            )
        return labels

    def _features(self, split: str) -> Mapping[str, Any]:
        """The types of a split's columns by their names."""
        found = self.source.features or self.whole(split).features
        if found is None:
            raise AttnFlowError(
                "data.streaming: expected a data set that tells its columns, or "
                f"data.streaming=false, got {self.origin(split)}, which does not."
            )
        return found

    def _feature(self, split: str, option: str) -> Any:
        """The type of the column that an option names."""
        features, column = self._features(split), getattr(self, option)
        if column not in features:
            raise AttnFlowError(
                f"data.{option}: expected one of {', '.join(features)}, the columns of "
                f"{self.origin(split)}, got {column!r}."
            )
        return features[column]


def holds_images(feature: object, library: Any) -> bool:
    """Whether a column's type is of encoded images: the library's, bytes, or a struct of them."""
    if isinstance(feature, library.Image):
        return True
    if isinstance(feature, Mapping):
        return "bytes" in feature
    return getattr(feature, "dtype", "") in ("binary", "large_binary")
