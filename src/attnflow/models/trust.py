"""Limits on the classes that a file's config may name: this package's, and those trusted."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from inspect import isclass
from pathlib import Path

import yaml
from torch import nn
from torchvision.transforms import v2

from attnflow.data.base import ImageDataModule
from attnflow.errors import AttnFlowError
from attnflow.flows.base import Flow
from attnflow.flows.placement import Placement, several
from attnflow.models.conditioning import Conditioning
from attnflow.models.dequantization import Dequantizer
from attnflow.models.groups import MODEL_GROUPS
from attnflow.transforms import Transform
from attnflow.transforms.autoregressive import Solver
from attnflow.transforms.maps import ElementwiseMap
from attnflow.version import __version__

__all__ = [
    "TrustedNames",
    "check_current",
    "check_trust",
    "check_trusted",
    "stands_for_another",
    "targets_of_configs",
]

log = logging.getLogger(__name__)
# The config groups out of which a file's model and data are made again.
GROUPS = (*MODEL_GROUPS, "data")
# A larger config can only be an attempt to fill the memory.
MOST_VALUES = 10_000
# The kinds of classes that a config is made of, by the package that they must lie in.
KINDS = {
    "attnflow": (
        Flow,
        Transform,
        ElementwiseMap,
        Solver,
        Conditioning,
        Dequantizer,
        ImageDataModule,
        Placement,
    ),
    "attnflow.nets": (nn.Module,),
    "torchvision.transforms.v2": (v2.Transform,),
}
# Functions that are parts of models too.
PARTS = (several,)
# Lambda is refused, as it calls any function that it is given.
REFUSED = (v2.Lambda,)
# Of Hydra's keys, those that say how an object is made, and the types of their values.
WAYS = {"_target_": str, "_args_": list, "_partial_": bool, "_convert_": str, "_recursive_": bool}


class TrustedNames(list[str]):
    """Names that a file's config may call.

    Attributes:
        folders: of configs, by the names that are called because one of them names them.
    """

    def __init__(self, names: Iterable[str], folders: Mapping[str, Path]) -> None:
        super().__init__([*names, *folders])
        self.folders, self.given = dict(folders), list(names)


def check_trusted(config: Mapping, source: object, trust: Sequence[str] = ()) -> None:
    """Raise unless every ``_target_`` in a file's config may be called.

    Of the config groups, those that a model and its data are made of; no other is ever called.
    Nothing that the config names is called here, and nothing outside of this package,
    torchvision's transforms and ``trust`` is imported.

    Args:
        config: what a file holds, by config group.
        source: the file, for the message.
        trust: what else may be called: packages, with all that is defined in them, and full
            names of single classes and functions.

    Raises:
        AttnFlowError: a target that is not trusted, or what is no plain value.
    """
    check_trust(trust)
    called = {group: config.get(group) for group in GROUPS}
    for count, (key, name, value) in enumerate(values_of(called)):
        if count == MOST_VALUES:
            raise AttnFlowError(
                f"{source}: expected a config of at most {MOST_VALUES} values, got more."
            )
        check_plain(value, name, f"{source}: {key}")
        if name == "_target_" and not is_trusted(str(value), trust):
            raise AttnFlowError(
                f"{source}: {key} is {value!r}, which is not called out of a file; where you know "
                f"it and trust the file with it, trust=[{value}] allows it (of eval.py and of "
                "attnflow.load)."
            )
    if isinstance(trust, TrustedNames):
        targets = {str(value) for _, name, value in values_of(called) if name == "_target_"}
        for target in sorted(targets & trust.folders.keys()):
            if not is_trusted(target, trust.given):
                folder = trust.folders[target]
                log.warning(
                    "%s: %s is called, as the configs in %s name it.", source, target, folder
                )


def check_current(config: Mapping, version: object, source: object) -> None:
    """Raise where a file's config names what this package no longer has.

    Args:
        config: what the file holds, by config group.
        version: of the package that wrote it.
        source: the file, for the message.

    Raises:
        AttnFlowError: the file is of an earlier version.
    """
    for key, name, value in values_of({group: config.get(group) for group in GROUPS}):
        if name == "_target_" and isinstance(value, str) and is_gone(value):
            raise AttnFlowError(
                f"{source} is of an earlier attnflow ({version}), whose {value} ({key}) is no "
                f"longer there: expected a file of this version ({__version__}), so train anew, "
                "or use the version that wrote it."
            )


def is_gone(target: str) -> bool:
    """Whether a name in this package leads nowhere; nothing outside of the package is imported."""
    parts = target.split(".")
    if parts[0] != "attnflow" or not all(part.isidentifier() for part in parts):
        return False
    found = import_module("attnflow")
    for number, part in enumerate(parts[1:], start=2):
        if not hasattr(found, part):
            try:
                import_module(".".join(parts[:number]))
            except ImportError:
                return True
        found = getattr(found, part)
    return False


def values_of(config: Mapping | list) -> Iterator[tuple[str, object, object]]:
    """Every value of nested mappings and lists: its dotted key, its own name and itself.

    The outer ones come first, so that lists which hold themselves are without end, but no trap.
    """
    containers = deque([("", config)])
    while containers:
        path, held = containers.popleft()
        for name, value in held.items() if isinstance(held, Mapping) else enumerate(held):
            key = f"{path}.{name}" if path else str(name)
            yield key, name, value
            if isinstance(value, Mapping | list):
                containers.append((key, value))


def check_trust(trust: Sequence[str]) -> None:
    """Raise :class:`AttnFlowError` unless ``trust`` is a list of dotted names."""
    if (
        isinstance(trust, str)
        or trust is None
        or not all(isinstance(name, str) and re.fullmatch(r"\w+(\.\w+)*", name) for name in trust)
    ):
        raise AttnFlowError(
            f"trust: expected a list of packages or full names, as [my_package], got {trust!r}."
        )


def check_plain(value: object, name: object, place: str) -> None:
    """Raise :class:`AttnFlowError` unless ``value`` is plain and stands for itself."""
    if not isinstance(name, str | int):
        raise AttnFlowError(f"{place}: expected a text as name, got {type(name).__name__}.")
    if not isinstance(value, str | int | float | Mapping | list | type(None)):
        raise AttnFlowError(f"{place}: expected a plain value, got {type(value).__name__}.")
    odd = name in WAYS and not str(value).isprintable()
    if odd or stands_for_another(value):
        raise AttnFlowError(f"{place}: expected a plain value, got {value!r}.")
    if name in WAYS and not isinstance(value, WAYS[name]):
        raise AttnFlowError(f"{place}: expected {WAYS[name].__name__}, got {value!r}.")


def stands_for_another(value: object) -> bool:
    """Whether a config would take a text for an interpolation, or for a value that is missing.

    An interpolation can read the environment, so no text out of a file may be one.
    """
    return isinstance(value, str) and ("${" in value or value == "???")


def is_trusted(target: str, trust: Sequence[str]) -> bool:
    """Whether a target may be called: by where it is defined, not by the name that leads to it."""
    if target.split(".")[0] == "hydra":  # its helpers call what their arguments name
        return False
    if target in trust:
        return True
    if any(defined_in(target, package) for package in trust):
        return True
    for package, kinds in KINDS.items():
        found = defined_in(target, package)
        if found in PARTS or (isclass(found) and issubclass(found, kinds)):
            return found not in REFUSED
    return False


def defined_in(target: str, package: str) -> object | None:
    """The class or function of a module of ``package`` that defines it; None for any other."""
    module, _, name = target.rpartition(".")
    if not is_within(module, package):
        return None
    try:
        found = getattr(import_module(module), name, None)
    except ImportError:  # as of what is reached through an attribute
        return None
    is_own = callable(found) and is_within(str(getattr(found, "__module__", "")), package)
    return found if is_own else None


def is_within(module: str, package: str) -> bool:
    """Whether a module is a package or lies below it."""
    return f"{module}.".startswith(f"{package}.")


def targets_of_configs(folders: Iterable[Path]) -> set[str]:
    """The targets that config folders name for models and data: their owner calls them anyway."""
    found = set()
    for path in (path for folder in folders for path in Path(folder).rglob("*.yaml")):
        try:
            held = yaml.safe_load(path.read_text())
        except (OSError, UnicodeError, yaml.YAMLError):  # told where it is composed
            continue
        if not isinstance(held, Mapping):
            continue
        if path.parent.name not in GROUPS:
            held = {group: held.get(group) for group in GROUPS}
        found |= {v for _, name, v in values_of(held) if name == "_target_" and isinstance(v, str)}
    return found
