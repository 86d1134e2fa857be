"""Reading what runs left on the disk: files that may be damaged, and that decide nothing."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import yaml
from PIL import Image

from attnflow.errors import AttnFlowError

__all__ = [
    "check_picture",
    "read_csv",
    "read_json",
    "read_mapping",
    "read_overrides",
    "read_text",
    "read_yaml",
]

LARGEST = 2**24  # bytes of a file that is read at once; those of a run hold a few thousand
LONGEST_LINE = 2**20  # characters of a CSV file's line
# Both loaders construct plain values only; the first is written in C.
YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_text(path: Path) -> str:
    """Read a small text file.

    Raises:
        AttnFlowError: it is no file, is too large, is no text, or cannot be read.
    """
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait for its writer
            raise AttnFlowError(f"{path}: expected a file, got something else.")
        if (size := path.stat().st_size) > LARGEST:
            raise AttnFlowError(f"{path}: expected at most {LARGEST:,} bytes, got {size:,}.")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise AttnFlowError(f"{path}: expected text, got {_byte(error)}.") from error
    except OSError as error:
        raise AttnFlowError(f"{path}: expected a readable file, got '{error.strerror}'.") from error


def read_json(path: Path) -> Any:
    """Read a JSON file, in which NaN and Infinity are no numbers.

    Raises:
        AttnFlowError: it cannot be read, or is no JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise AttnFlowError(f"{path}: expected JSON, got '{_one_line(error)}'.") from error


def read_yaml(path: Path) -> Any:
    """Read a YAML file of plain values; None for an empty one.

    Tags construct nothing, and aliases, by which a small file can stand for a vast one, are
    refused: Hydra writes neither.

    Raises:
        AttnFlowError: it cannot be read, is no YAML, or holds more than plain values.
    """
    text = read_text(path)
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, YamlLoader)):
            raise yaml.YAMLError("an alias, *name")
        return yaml.load(text, YamlLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise AttnFlowError(f"{path}: expected plain YAML, got '{_one_line(error)}'.") from error


def read_mapping(path: Path) -> Mapping:
    """Read a YAML or a JSON file that holds names and values.

    Raises:
        AttnFlowError: it cannot be read, or holds something else.
    """
    held = read_json(path) if path.suffix == ".json" else read_yaml(path)
    if not isinstance(held, Mapping):
        raise AttnFlowError(f"{path}: expected names and values, got {held!r:.80}.")
    return held


def read_overrides(path: Path) -> list[str]:
    """Read the overrides of a command line.

    Raises:
        AttnFlowError: they cannot be read, or are none.
    """
    held = read_yaml(path) or []
    if not isinstance(held, list) or not all(isinstance(entry, str) for entry in held):
        raise AttnFlowError(f"{path}: expected a list of key=value, got {held!r:.80}.")
    return held


def read_csv(path: Path) -> Iterator[dict[str, float]]:
    """Read a CSV logger's file, row by row: its numbers by their column, empty cells left out.

    Raises:
        AttnFlowError: it cannot be read, has no column ``step``, breaks off within a line, or
            holds a cell that is no number.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(_whole_lines(file), strict=True)
            header = next(rows, [])
            if "step" not in header:
                raise ValueError(f"a header without step, {','.join(header)[:80]!r}")
            for row in filter(None, rows):
                yield _numbers(header, row, rows.line_num)
    except UnicodeDecodeError as error:
        raise AttnFlowError(f"{path}: expected a table of numbers, got {_byte(error)}.") from error
    except (ValueError, csv.Error) as error:
        raise AttnFlowError(f"{path}: expected a table of numbers, got {error}.") from error
    except OSError as error:
        raise AttnFlowError(f"{path}: expected a readable file, got '{error.strerror}'.") from error


def check_picture(path: Path) -> bool:
    """Return True for a whole PNG.

    Raises:
        AttnFlowError: it is damaged.
    """
    try:
        with Image.open(path) as image:
            image.verify()  # reads all of it, and decodes nothing
    except Exception as error:  # Pillow raises whatever a damaged file provokes
        raise AttnFlowError(f"{path}: expected a PNG, got '{_one_line(error)}'.") from error
    return True


def _whole_lines(file: TextIO) -> Iterator[str]:
    """The lines of a CSV file, none of which breaks off or holds a NUL."""
    for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), ""), 1):
        if "\0" in line:
            raise ValueError(f"a NUL byte in line {number}")
        if not line.endswith("\n"):
            raise ValueError(f"line {number}, which breaks off")
        yield line


def _numbers(header: list[str], row: list[str], line: int) -> dict[str, float]:
    """A row's numbers; ``step`` is one of them, and whole."""
    if len(row) != len(header):
        raise ValueError(f"{len(row)} cells under a header of {len(header)} in line {line}")
    numbers = {}
    for name, cell in zip(header, row, strict=True):
        try:
            if cell:
                numbers[name] = float(cell)
        except ValueError:
            raise ValueError(f"{cell[:40]!r} under {name} in line {line}") from None
    step = numbers.get("step", math.nan)
    if not math.isfinite(step) or step != int(step):
        raise ValueError(f"no whole step in line {line}")
    return numbers


def _refuse_constant(name: str) -> None:
    """Refuse what JSON does not know, though Python's reader does."""
    raise ValueError(f"{name}, which is no number of JSON's")


def _byte(error: UnicodeDecodeError) -> str:
    """Say which byte is no text."""
    return f"the byte 0x{error.object[error.start]:02x}, which is no UTF-8"


def _one_line(error: Exception) -> str:
    """The words of another library, without their line ends."""
    return " ".join(str(error).split())[:200]
