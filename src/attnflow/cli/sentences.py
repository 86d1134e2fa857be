"""Tell an error of a command, with the place in its config where a value is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from attnflow.cli.containers import as_dict
from attnflow.errors import ArgumentError
from attnflow.utils.sentences import causes, expected_error

__all__ = ["origin", "sentence_of"]

INTERPOLATION = re.compile(r"\$\{([\w.]+)\}")


def sentence_of(error: BaseException, config: DictConfig) -> str | None:
    """The sentence that tells an error of a command; None for a bug, which needs its traceback."""
    for each in causes(error):
        if isinstance(each, ArgumentError) and each.place:
            written = origin(f"{each.place}.{each.argument}", as_dict(config))
            each.place, _, each.argument = written.rpartition(".")
    return expected_error(error)


def origin(place: str, config: Any) -> str:
    """The place where the value at ``place`` is written, beyond all interpolations.

    Args:
        place: a dotted key.
        config: in plain containers, interpolations unresolved.
    """
    node: Any = config
    parts = place.split(".")
    for number, part in enumerate(parts):
        node = node.get(part) if isinstance(node, Mapping) else None
        if isinstance(node, str) and (found := INTERPOLATION.fullmatch(node)):
            return origin(".".join([found[1], *parts[number + 1 :]]), config)
    return place
