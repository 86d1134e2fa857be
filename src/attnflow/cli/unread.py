"""Options that would change nothing: nobody reads them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

import yaml

from attnflow.cli.configs import config_folder
from attnflow.errors import AttnFlowError
from attnflow.models.groups import MODEL_GROUPS

__all__ = ["check_added", "check_all_read"]

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


def check_added(
    config: Mapping, overrides: Sequence[str], groups: Collection[str], command: str
) -> None:
    """Raise for an option that is added beside the command's own, and that none refers to.

    Args:
        config: composed, interpolations as they are.
        overrides: what the command line changes.
        groups: of which an option is chosen, as ``data`` and ``data@against``.
        command: whose config it is.

    Raises:
        AttnFlowError: ``+seeed=1``, and the like.
    """
    added = [override for override in overrides if override.startswith("+")]
    if not added:
        return
    known = options_of(command) | {re.split("[/@]", group)[0] for group in groups}
    known |= set(_references(config))
    for override in added:
        name = re.split(r"[.=@/]", override.lstrip("+"))[0]
        if name not in known:
            raise AttnFlowError(
                f"{override}: expected an option of attnflow {command} (--help lists them), or one "
                f"that another refers to by ${{{name}}}, got one that nobody reads."
            )


def options_of(command: str) -> set[str]:
    """The options and the groups that a command's own config holds."""
    held = yaml.safe_load((config_folder() / f"{command}.yaml").read_text())
    groups = [next(iter(default)) for default in held["defaults"] if isinstance(default, dict)]
    return {*held, *(group.split("@")[-1] for group in groups)}


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
    """The options that a part of a config refers to."""
    if isinstance(value, Mapping):
        for held in value.values():
            yield from _references(held)
    elif isinstance(value, list):
        for held in value:
            yield from _references(held)
    elif isinstance(value, str):
        yield from REFERENCE.findall(value)
