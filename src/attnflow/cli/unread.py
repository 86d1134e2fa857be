"""Options of parts that a model of the chosen kind does not have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from attnflow.errors import AttnFlowError
from attnflow.models.groups import MODEL_GROUPS

__all__ = ["check_all_read"]

REFERENCE = re.compile(r"\$\{(\w+)")


def check_all_read(config: Mapping, overrides: Sequence[str], model: str) -> None:
    """Raise for an option that would change nothing, as no part of the model refers to its group.

    Args:
        config: composed, interpolations as they are.
        overrides: what the command line changes.
        model: the option of ``model`` that is chosen, for the message.

    Raises:
        AttnFlowError: a coupling for a flow without couplings, and the like.
    """
    read = groups_read(config)
    for override in overrides:
        group = re.split(r"[.=@]", override.lstrip("+~"))[0]
        if group in MODEL_GROUPS and group not in read:
            parts = ", ".join(name for name in MODEL_GROUPS if name in read)
            raise AttnFlowError(
                f"{override}: expected an option of a part that model={model} has ({parts}), got "
                f"one of {group}."
            )


def groups_read(config: Mapping) -> set[str]:
    """The groups of a model that its parts are made of; it is what others are referred from."""
    read, waiting = set(), ["model", "dequantization", "conditioning"]
    while waiting:
        group = waiting.pop()
        if group in MODEL_GROUPS and group not in read:
            read.add(group)
            waiting += _references(config.get(group))
    return read


def _references(value: object) -> Iterator[str]:
    """The groups that a part of a config refers to."""
    if isinstance(value, Mapping):
        for held in value.values():
            yield from _references(held)
    elif isinstance(value, list):
        for held in value:
            yield from _references(held)
    elif isinstance(value, str):
        yield from REFERENCE.findall(value)
