"""Check the names, types and ranges of a config's values, before anything is made of them.

What each class takes is read from its signature, by pydantic, as if the config were JSON: a list
may stand for a tuple, and a whole number for any number, but no text for a number. Ranges are
checked by the classes themselves, when they are made (:mod:`attnflow.utils.making`).
"""

from __future__ import annotations

import inspect
import json
import math
import types
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from traceback import extract_tb
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError
from typing_extensions import Unpack, get_type_hints

from attnflow.errors import ArgumentError, AttnFlowError

__all__ = [
    "argument_hints",
    "as_path",
    "check_config",
    "check_entry",
    "check_options",
    "check_value",
    "locate",
]

AS_JSON = ConfigDict(strict=True, arbitrary_types_allowed=True)
WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "null",
}
MEMBERS = {int: "whole numbers", float: "numbers", str: "texts"}  # of lists


def check_config(config: Mapping | Sequence, place: str = "") -> None:
    """Check every ``_target_`` in a config, and the options beside it by its signature.

    Args:
        config: in plain containers; interpolations stay, and are checked where they lead to.
        place: the dotted key of ``config``.

    Raises:
        AttnFlowError: nothing of a target's name can be called; an option that it does not have,
            or a value whose type is none that it takes; a number that is infinite or none.
    """
    if isinstance(config, Mapping) and "_target_" in config:
        called = locate(config["_target_"], place)
        if called is not None:
            options = {key: value for key, value in config.items() if not _is_hydras(key)}
            check_options(called, options, place)
    for key, value in config.items() if isinstance(config, Mapping) else enumerate(config):
        inner = f"{place}.{key}" if place else str(key)
        if isinstance(value, Mapping | list):
            check_config(value, inner)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ArgumentError(inner, "a finite number", value)


def check_options(called: Callable, options: Mapping[str, object], place: str) -> None:
    """Raise :class:`ArgumentError` for an option that ``called`` does not have, or of no such type.

    Args:
        called: a class or a function.
        options: by the names of its arguments.
        place: where the options stand in a config; empty where who calls this adds it.
    """
    hints, takes_others = argument_hints(called)
    for name, value in options.items():
        key = f"{place}.{name}" if place else name
        if name not in hints and not takes_others:
            expected = f"an option of {called.__name__} ({', '.join(hints)})"
            raise ArgumentError(key, expected, value)
        check_value(key, value, hints.get(name, Any))


def check_value(name: str, value: object, hint: Any) -> None:
    """Raise :class:`ArgumentError` for a value that a type hint does not admit.

    Interpolations, and what an object will be made of, are left to what they lead to.
    """
    adapter = _adapter(hint)
    if adapter is None or not _is_plain(value):
        return
    try:
        adapter.validate_json(json.dumps(value))
    except ValidationError:
        raise ArgumentError(name, _words(hint), value) from None


def check_entry(place: str, value: object) -> None:
    """Raise :class:`ArgumentError` unless ``value`` names a ``_target_`` to make an object of."""
    if not isinstance(value, Mapping) or "_target_" not in value:
        raise ArgumentError(place, "a _target_ with its options, or null to leave it out", value)


def as_path(name: str, value: object) -> str:
    """The path that an option gives; a name of digits, which is read as a number, is one too.

    Raises:
        ArgumentError: it is neither.
    """
    if type(value) not in (str, int, float):
        raise ArgumentError(name, "a path", value)
    return str(value)


def argument_hints(called: Callable) -> tuple[dict[str, Any], bool]:
    """The type hints of every argument that has a name, and whether others may be given too."""
    function = called.__init__ if isinstance(called, type) else called
    try:
        parameters = inspect.signature(called).parameters.values()
    except ValueError:  # built-in code without a signature
        return {}, True
    try:
        known = get_type_hints(function)
    except (NameError, TypeError):  # names that are imported for type checkers alone
        known = {}
    hints: dict[str, Any] = {}
    takes_others = False
    for parameter in parameters:
        hint = known.get(parameter.name, Any)
        if parameter.kind is not parameter.VAR_KEYWORD:
            hints[parameter.name] = hint
        elif get_origin(hint) is Unpack:
            hints |= get_type_hints(get_args(hint)[0])
        else:
            takes_others = True
    return hints, takes_others


def locate(target: object, place: str) -> Callable | None:
    """The class or function that a config's ``_target_`` names; None for an interpolation.

    Args:
        target: the dotted name; classes inside of classes are found too.
        place: the dotted key that it stands under.

    Raises:
        AttnFlowError: there is none: which module is missing, which module's import fails and
            why, or which name a module lacks.
    """
    key = f"{place}._target_" if place else "_target_"
    if not isinstance(target, str) or not target.strip("."):
        raise ArgumentError(key, "the full name of a class", target)
    if "${" in target:
        return None
    parts = target.split(".")
    found = _import(parts[0], target, key)
    for number, part in enumerate(parts[1:], start=2):
        if not hasattr(found, part) and inspect.ismodule(found):
            path = ".".join(parts[:number])
            found = _import(path, target, key, holder=found)
        elif not hasattr(found, part):
            raise AttnFlowError(f"{key} is {target!r}, but {parts[number - 2]} has no {part!r}.")
        else:
            found = getattr(found, part)
    if not callable(found):
        raise AttnFlowError(
            f"{key} is {target!r}: expected a class or a function, got {type(found).__name__}."
        )
    return found


def _import(
    module: str, target: str, key: str, holder: types.ModuleType | None = None
) -> types.ModuleType:
    """Import a module on the way to a target; raises where it is missing, or its own import fails.

    Args:
        module: its full name.
        target, key: for the message.
        holder: the package or module that it would lie in.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module and not module.startswith(f"{error.name}."):
            raise AttnFlowError(_of_import(key, target, module, error)) from error
        if holder is None:
            raise AttnFlowError(
                f"{key} is {target!r}, but there is no module {module!r}: expected one that is "
                "installed, or that lies in the working directory or in a folder of PYTHONPATH."
            ) from error
        missing = module.rpartition(".")[2]
        near = get_close_matches(missing, dir(holder), 1)
        meant = f"; did you mean {near[0]!r}?" if near else "."
        raise AttnFlowError(
            f"{key} is {target!r}, but {holder.__name__} has no {missing!r}{meant}"
        ) from error
    except Exception as error:
        raise AttnFlowError(_of_import(key, target, module, error)) from error


def _of_import(key: str, target: str, module: str, error: Exception) -> str:
    """A sentence of the error with which a module's own import fails, and of its line."""
    line = extract_tb(error.__traceback__)[-1]
    where = f"{line.filename}, line {line.lineno}"
    if isinstance(error, SyntaxError):
        where = f"{error.filename}, line {error.lineno}"
    words = " ".join(str(error).split())
    return (
        f"{key} is {target!r}, but the import of {module} fails: {type(error).__name__}: {words} "
        f"({where})."
    )


@cache
def _adapter(hint: Any) -> TypeAdapter | None:
    """The validator of a type hint; None where any value passes or pydantic knows no such type."""
    if hint is Any or hint is object:
        return None
    try:
        return TypeAdapter(hint, config=AS_JSON)
    except (PydanticSchemaGenerationError, TypeError):
        return None


def _is_hydras(key: object) -> bool:
    """Whether a key beside a ``_target_`` is Hydra's own, such as ``_partial_``."""
    return isinstance(key, str) and key.startswith("_") and key.endswith("_")


def _is_plain(value: object) -> bool:
    """Whether a value is complete: no interpolation, no object and no ``_target_``."""
    if isinstance(value, str):
        return "${" not in value
    if isinstance(value, Mapping):
        return "_target_" not in value and all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, int | float | None)


def _words(hint: Any) -> str:
    """Describe the values that a hint admits, in the words of a config."""
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    words = dict.fromkeys(word for kind in kinds if (word := _word(kind)))
    if WORDS[float] in words:
        words.pop(WORDS[int], None)
    return " or ".join(words) or "a _target_ with its options"


def _word(hint: Any) -> str | None:
    """Describe the values of a hint that is no union; None for objects of a class."""
    kind = get_origin(hint) or hint
    if kind is Literal:
        choices = list(map(str, get_args(hint)))
        return f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return "a mapping"
    if kind is tuple and (entries := get_args(hint)) and ... not in entries:
        return _word_of_entries([_words(entry) for entry in entries])
    if (
        kind not in WORDS
        and isinstance(kind, type)
        and issubclass(kind, Sequence | set | frozenset)
    ):
        members = [MEMBERS[member] for member in get_args(hint) if member in MEMBERS]
        return f"a list of {' or '.join(members)}" if members else "a list"
    return WORDS.get(kind)


def _word_of_entries(words: Sequence[str]) -> str:
    """Describe a list of as many values as there are ``words``, which describe each of them."""
    number = {2: "two", 3: "three"}.get(len(words), str(len(words)))
    if set(words) <= {WORDS[int], WORDS[float]} and len(set(words)) == 1:
        return f"{number} {words[0].removeprefix('a ')}s"
    return f"a list of {number}"
