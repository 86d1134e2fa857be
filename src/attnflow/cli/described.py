"""What a config's file says of itself: its first sentence, and the options in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

__all__ = ["Option", "first_sentence", "options_of"]

ENTRY = re.compile(r"^(?P<indent> *)(?P<key>[\w.]+):(?: +(?P<value>[^ #].*))?$")


@dataclass(frozen=True)
class Option:
    """An option of a config.

    Attributes:
        key: with dots between its parts.
        default: as the file says it; "" for a group of further options.
        about: the comment above it, in one line; "" for none.
    """

    key: str
    default: str
    about: str


def first_sentence(path: Path) -> str:
    """The first sentence of a YAML file's first comment, when to use it; "" for none."""
    comments = takewhile(lambda line: line.startswith("#"), path.read_text().splitlines())
    text = " ".join(line.lstrip("# ") for line in comments if "@package" not in line)
    sentence, end, _ = text.partition(". ")
    return sentence + end.rstrip()


def options_of(path: Path) -> Iterator[Option]:
    """The options of a YAML file of mappings, in its order, each with the comment above it.

    Those of Hydra (``defaults``, and what begins with ``_``) and lists' own items are left out.
    """
    above: list[tuple[int, str]] = []
    comments: list[str] = []
    for line in path.read_text().splitlines():
        entry = ENTRY.match(line)
        if line.lstrip().startswith("#"):
            comments.append(line.strip().lstrip("# "))
        elif entry and not line.lstrip().startswith("- "):
            indent = len(entry["indent"])
            above = [(at, key) for at, key in above if at < indent]
            parts = [*(key for _, key in above), entry["key"]]
            if parts[0] != "defaults" and not any(part.startswith("_") for part in parts):
                yield Option(".".join(parts), entry["value"] or "", " ".join(comments))
            above.append((indent, entry["key"]))
            comments = []
        else:
            comments = []
