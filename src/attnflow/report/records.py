"""What lies in a run's folder, read as far as it can be."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from attnflow.errors import AttnFlowError
from attnflow.runs.names import HYDRA
from attnflow.runs.reading import check_picture, read_mapping

__all__ = ["CONFIG", "OVERRIDES", "REFERENCE", "Reader", "by_key", "printable"]

CONFIG, OVERRIDES = os.path.join(HYDRA, "config.yaml"), os.path.join(HYDRA, "overrides.yaml")
REFERENCE = re.compile(r"\$\{([\w.:]+)\}")

T = TypeVar("T")


class Reader:
    """Reads a run's records; what cannot be read becomes a line of ``faults``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: list[str] = []

    def exists(self, name: str) -> bool:
        """Whether there is something of this name, readable or not."""
        try:
            os.lstat(self.folder / name)
        except OSError as error:
            return not isinstance(error, (FileNotFoundError, NotADirectoryError))
        return True

    def read(self, read: Callable[..., T], *arguments: object, instead: T) -> T:
        """What ``read`` returns, or ``instead`` where it is refused."""
        try:
            return read(*arguments)
        except AttnFlowError as error:
            self.faults.append(str(error).replace(f"{self.folder}{os.sep}", ""))
        except OSError as error:
            self.faults.append(f"{error.filename}: expected it to be readable: {error.strerror}.")
        return instead

    def file(self, name: str, read: Callable[[Path], T], instead: T) -> T:
        """What a file holds, or ``instead`` where it is missing or damaged."""
        if not self.exists(name):
            return instead
        return self.read(read, self.folder / name, instead=instead)

    @cached_property
    def config(self) -> Mapping:
        """The composed config."""
        return self.file(CONFIG, read_mapping, instead={})

    @cached_property
    def hydra(self) -> Mapping:
        """Hydra's own config."""
        return self.file(os.path.join(HYDRA, "hydra.yaml"), read_mapping, instead={})

    def leaves(self) -> dict[str, str]:
        """The composed config by dotted keys, references followed; {} where it is not known."""
        if not self.config:
            return {}
        cwd = {"hydra.runtime.cwd": str(_at(self.hydra, "hydra.runtime").get("cwd", ""))}
        plain = dict(_leaves(self.config)) | cwd
        return {key: _followed(value, plain) for key, value in plain.items()}

    def derived(self) -> frozenset[str]:
        """The keys of the composed config that are taken from others."""
        return frozenset(key for key, value in _leaves(self.config) if REFERENCE.search(value))

    def choices(self) -> dict[str, str]:
        """The choice of every config group."""
        return {
            str(group): str(choice)
            for group, choice in _at(self.hydra, "hydra.runtime.choices").items()
            if choice is not None and not str(group).startswith("hydra")
        }

    def pictures(self) -> list[Path]:
        """The last of every series by epoch and all others, but for damaged ones."""
        series: dict[str, Path] = {}
        for path in sorted(self.folder.glob("samples/*.png")):
            series[path.stem.split("epoch_")[0]] = path
        if "final" in series:
            series.pop("", None)  # samples by epoch, which the final ones follow
        last = sorted(series.values(), key=lambda path: path.stem.startswith("attention"))
        return [path for path in last if self.read(check_picture, path, instead=False)]


def by_key(overrides: Sequence[str]) -> dict[str, str]:
    """Overrides as ``+data.size=8``, by their key."""
    pairs = (override.partition("=") for override in overrides)
    return {key.lstrip("+~").split("@")[0]: printable(value) for key, _, value in pairs}


def printable(text: str) -> str:
    """A text in which what is no character, as a byte of a file's name, is spelled out."""
    return text.encode(errors="backslashreplace").decode()


def _at(tree: Mapping, key: str) -> Mapping:
    """The mapping at a dotted key; {} where there is none."""
    for part in key.split("."):
        found = tree.get(part)
        tree = found if isinstance(found, Mapping) else {}
    return tree


def _leaves(tree: Mapping, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The values of nested mappings as text, by dotted keys."""
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{key}.")
        else:
            yield key, "null" if value is None else printable(str(value))


def _followed(text: str, leaves: Mapping[str, str], depth: int = 8) -> str:
    """A value with its references, as ``${paths.data_dir}/maps``, replaced by what they name."""
    if depth == 0 or "${" not in text:
        return text

    def named(reference: re.Match) -> str:
        key = reference[1].replace(":", ".")  # ${hydra:runtime.cwd}
        return _followed(leaves[key], leaves, depth - 1) if key in leaves else reference[0]

    return REFERENCE.sub(named, text)
