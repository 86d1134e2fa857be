"""Data sets of the library ``datasets``: opened late, offline where they are local, without code.

The library reads parquet, Arrow, image folders and archives itself; from version 4 on it runs no
script of a data set.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from attnflow.errors import AttnFlowError

__all__ = ["LibrarySet", "import_datasets", "release_memory"]

T = TypeVar("T")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")  # user/name: shorter names are also the library's formats
ONE_FILE = {".parquet": "parquet", ".arrow": "arrow"}
# Rows of a record batch of an Arrow file: each takes 5 kB of memory; of the library's own 100 rows,
# a million images took 50 MB.
BATCH_ROWS = 1_000
SAVED = ("dataset_dict.json", "state.json")  # what save_to_disk leaves in its folder


@dataclass(frozen=True)
class LibrarySet:
    """A data set of the library, by where it is.

    Attributes:
        path: of a local folder or file, absolute, or ``user/name`` of the Hugging Face Hub.
        name: of one of its configs, or None.
        revision: branch, tag or commit of the Hub, or None.
        cache_dir: where the library keeps its Arrow files; None for its own place.
    """

    path: str
    name: str | None
    revision: str | None
    cache_dir: Path | None

    @cached_property
    def kept_in(self) -> Path:
        """The folder of the library's files; of local data, one for each state of theirs.

        The library itself takes other files of the same names for the old ones, if a card lists
        them.
        """
        folder = self.cache_dir or Path(import_datasets().config.HF_DATASETS_CACHE)
        if not os.path.exists(self.path):
            return folder
        return folder / f"local_{state_of(self.path, folder)}"

    @property
    def is_saved(self) -> bool:
        """Whether the library's ``save_to_disk`` wrote the folder."""
        return any((Path(self.path) / name).is_file() for name in SAVED)

    @cached_property
    def builder(self) -> Any:
        """The library's builder, which knows what the data set says of itself.

        Raises:
            AttnFlowError: no such data set, no network, or one that the library does not read.
        """
        library = import_datasets()
        options: dict[str, Any] = {"writer_batch_size": BATCH_ROWS}
        path, suffix = self.path, Path(self.path).suffix
        if os.path.isfile(path) and suffix in ONE_FILE:
            path = ONE_FILE[suffix]
            options["data_files"] = {"train": self.path}
        elif not os.path.isdir(path) and not HUB_NAME.fullmatch(path):
            raise AttnFlowError(
                "data.path: expected a folder, a .parquet or .arrow file, or user/name of the "
                f"Hugging Face Hub, got {path!r}, which does not exist."
            )
        return self._asked(
            lambda: library.load_dataset_builder(
                path, self.name, revision=self.revision, cache_dir=self.kept_in, **options
            )
        )

    @property
    def features(self) -> Mapping[str, Any] | None:
        """The columns by their names, where the data set tells them without being read."""
        return None if self.is_saved else self.builder.info.features

    @cached_property
    def saved(self) -> Mapping[str, Any]:
        """The splits of a folder of ``save_to_disk``, as memory-mapped tables."""
        library = import_datasets()
        found = self._asked(lambda: library.load_from_disk(self.path, keep_in_memory=False))
        return found if isinstance(found, Mapping) else {"train": found}

    @cached_property
    def streams(self) -> Mapping[str, Any]:
        """Every split as a stream, of which nothing is kept.

        Raises:
            AttnFlowError: as for :attr:`builder`.
        """
        if self.is_saved:
            raise AttnFlowError(
                f"data.streaming: expected false for {self.path}, a folder of save_to_disk, which "
                "is mapped as it lies, got true."
            )
        return self._asked(lambda: self.builder.as_streaming_dataset())

    def prepare(self) -> None:
        """Download what is missing, and write the library's Arrow files, once.

        Raises:
            AttnFlowError: as for :attr:`builder`, or of files that cannot be read.
        """
        if not self.is_saved:
            self._asked(lambda: self.builder.download_and_prepare())

    def sizes(self) -> dict[str, int]:
        """How many rows each split has, once it is prepared."""
        if self.is_saved:
            return {str(name): len(table) for name, table in self.saved.items()}
        self.prepare()
        return {name: told.num_examples for name, told in self.builder.info.splits.items()}

    def table(self, split: str) -> Any:
        """A split as a memory-mapped table; it has a row or more."""
        if self.is_saved:
            return self.saved[split]
        self.prepare()
        return self._asked(lambda: self.builder.as_dataset(split, in_memory=False))

    def length(self, split: str) -> int | None:
        """How many rows a split has, where the data set tells it without being read."""
        told = (self.builder.info.splits or {}).get(split)
        return told.num_examples if told is not None and told.num_examples else None

    @property
    def version(self) -> list[str]:
        """What changes where the files or the revision do."""
        builder = self.builder
        told = (self.kept_in.name, builder.config_id, builder.info.version, builder.hash)
        return list(map(str, told))

    def _asked(self, call: Callable[[], T]) -> T:
        """What the library returns; its errors, of many kinds, as one sentence."""
        try:
            return call()
        except AttnFlowError:
            raise
        except Exception as error:
            root: BaseException = error
            while root.__cause__ is not None:
                root = root.__cause__
            words = " ".join(str(root).split())[:300] or "without a word"
            at = f"{self.path}, {self.name}" if self.name else self.path
            raise AttnFlowError(
                "data.path: expected a data set that the library datasets can read, with "
                f"data.name and data.revision where it needs them, got {at}: "
                f"{type(root).__name__}: {words.rstrip('.')}."
            ) from error


def state_of(path: str, besides: Path) -> str:
    """A hash of a file's size and time, or of those of all files below a folder.

    Args:
        path: of either.
        besides: a folder that is left out where it lies within.
    """
    state = hashlib.sha256()
    for folder, folders, files in os.walk(path, followlinks=True):
        folders[:] = sorted(name for name in folders if Path(folder, name) != besides)
        for name in sorted(files):
            state.update(_told(os.path.join(folder, name)))
    state.update(_told(path) if os.path.isfile(path) else b"")
    return state.hexdigest()[:16]


def _told(file: str) -> bytes:
    """A file's name, size and time; nothing of a link that leads nowhere."""
    try:
        found = os.stat(file)
    except OSError:
        return b""
    return repr((file, found.st_size, found.st_mtime_ns)).encode()


def release_memory() -> None:
    """Give memory back that Arrow holds without using it: some 60 MB once a data set is opened."""
    import pyarrow

    pyarrow.default_memory_pool().release_unused()


def import_datasets() -> Any:
    """The library, or one sentence about what brings it."""
    try:
        import datasets
    except ImportError as error:
        raise AttnFlowError(
            "data=huggingface needs the package datasets, which is not installed; "
            "pip install 'attnflow[huggingface]' brings it."
        ) from error
    return datasets
