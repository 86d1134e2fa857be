"""Can what a config names be called, and with the values that it gives?"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from traceback import extract_tb
from typing import Any, Union, get_args, get_origin, get_type_hints

from attnflow.errors import AttnFlowError

__all__ = [
    "as_path",
    "call",
    "check_config_types",
    "check_entry",
    "check_kind",
    "check_seed",
    "check_type",
    "check_types",
    "locate",
]

# The types that are checked, in the words of a message.
NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a mapping",
    type(None): "null",
}
# As what a config holds an argument of a type.
HELD_AS = {tuple: list, Sequence: list, Mapping: dict, timedelta: dict}


def check_config_types(config: Mapping | list, name: str = "") -> None:
    """Check every ``_target_`` in a config, and the values beside it by its type hints.

    Without it, a word in the place of a number would be found deep inside torch.

    Args:
        config: in plain containers; interpolations stay, and are checked where they lead to.
        name: the dotted key of ``config``, for the message.

    Raises:
        AttnFlowError: nothing of a target's name can be called, a value's type is none that the
            hint names, or a number is infinite or none.
    """
    if isinstance(config, Mapping) and "_target_" in config:
        called = locate(config["_target_"], name)
        if called is not None:
            hinted = called.__init__ if isinstance(called, type) else called
            check_types(hinted, config, name)
    for key, value in config.items() if isinstance(config, Mapping) else enumerate(config):
        place = f"{name}.{key}" if name else str(key)
        if isinstance(value, Mapping | list):
            check_config_types(value, place)
        elif isinstance(value, float) and not math.isfinite(value):
            raise AttnFlowError(f"{place}: expected a finite number, got {value}.")


def locate(target: object, name: str) -> Callable | None:
    """The class or function that a config's ``_target_`` names; None for an interpolation.

    Args:
        target: the dotted name; classes inside of classes are found too.
        name: the dotted key that it stands under, for the message.

    Raises:
        AttnFlowError: there is none: which module is missing, which module's import fails and
            why, or which name a module lacks.
    """
    key = f"{name}._target_" if name else "_target_"
    if not isinstance(target, str) or not target.strip("."):
        raise AttnFlowError(f"{key}: expected the full name of a class, got {target!r}.")
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
    """A module on the way to a target; raises where it is missing, or its own import fails.

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


def call(name: str, called: object, *args: object, **kwargs: object) -> Any:
    """``called(*args, **kwargs)``; arguments that do not fit are told in one sentence.

    Args:
        name: of what ``called`` makes, for the message.
        called: a class, a function or a ``functools.partial`` of one.

    Raises:
        AttnFlowError: ``called`` cannot be called, or not so.
    """
    if not callable(called):
        raise AttnFlowError(f"{name}: expected a class or a function, got {called!r}.")
    function, given, named = called, args, kwargs
    while isinstance(function, partial):
        given, named = (*function.args, *given), {**function.keywords, **named}
        function = function.func
    if inspect.isabstract(function):
        raise AttnFlowError(
            f"{name}: expected a class that defines all of its methods, got the abstract "
            f"{function.__qualname__}."
        )
    try:
        inspect.signature(function).bind(*given, **named)
    except ValueError:  # built-in code without a signature
        pass
    except TypeError as error:
        passed = [*(type(each).__name__ for each in args), *(f"{key}=" for key in kwargs)]
        raise AttnFlowError(
            f"{name}: expected what can be called with ({', '.join(passed)}), got "
            f"{getattr(function, '__qualname__', function)}: {error}."
        ) from error
    return called(*args, **kwargs)


def check_kind(name: str, value: object, kind: type) -> None:
    """Raise :class:`AttnFlowError` unless ``value`` is an instance of ``kind`` (or a subclass)."""
    if not isinstance(value, kind):
        raise AttnFlowError(
            f"{name}: expected an object of {kind.__module__}.{kind.__qualname__} or of a "
            f"subclass, got one of {type(value).__module__}.{type(value).__qualname__}."
        )


def check_entry(name: str, value: object) -> None:
    """Raise :class:`AttnFlowError` unless ``value`` names a ``_target_`` to make an object of."""
    if not isinstance(value, Mapping) or "_target_" not in value:
        raise AttnFlowError(
            f"{name}: expected a _target_ with its options, or null to leave it out, got {value!r}."
        )


def as_path(name: str, value: object) -> str:
    """The path that an option gives; a name of digits, which is read as a number, is one too.

    Raises:
        AttnFlowError: it is neither.
    """
    if type(value) not in (str, int, float):
        raise AttnFlowError(f"{name}: expected a path, got {value!r}.")
    return str(value)


def check_types(called: Callable, values: Mapping, name: str) -> None:
    """Raise :class:`AttnFlowError` for a value that ``called`` does not take by its hints.

    Arguments whose hints are not all of :data:`NAMES` are left to ``called``.
    """
    try:
        hints = get_type_hints(called)
    except (NameError, TypeError):  # names that are imported for type checkers alone
        return
    for key, value in values.items():
        accepted = _plain_types(hints.get(key, object))
        if accepted:
            check_type(f"{name}.{key}", value, *accepted)


def check_type(name: str, value: object, *accepted: type) -> None:
    """Raise :class:`AttnFlowError` for a value of none of these types, of :data:`NAMES`."""
    if not _fits(value, accepted):
        words = " or ".join(NAMES[kind] for kind in accepted)
        raise AttnFlowError(f"{name} is {value!r}; {words} is accepted.")


def check_seed(seed: object) -> None:
    """Raise :class:`AttnFlowError` for what numpy takes for no seed."""
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise AttnFlowError(f"seed is {seed!r}; a whole number from 0 to {2**32 - 1} is accepted.")


def _plain_types(hint: object) -> tuple[type, ...]:
    """The types of a hint; () where one of them is not in :data:`NAMES`.

    Tensors do not count, which torch's optimizers take for a number: a config holds none.
    """
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = tuple(get_origin(k) or k for k in kinds if getattr(k, "__name__", "") != "Tensor")
    kinds = tuple(dict.fromkeys(HELD_AS.get(kind, kind) for kind in kinds))
    return kinds if all(kind in NAMES for kind in kinds) else ()


def _fits(value: Any, accepted: tuple[type, ...]) -> bool:
    """Whether a value is of one of the types; a whole number is a number, true is none."""
    if isinstance(value, str) and "${" in value:
        return True
    if isinstance(value, int) and not isinstance(value, bool) and float in accepted:
        return True
    if list in accepted and isinstance(value, Sequence) and not isinstance(value, str):
        return True
    if isinstance(value, timedelta) or (isinstance(value, Mapping) and "_target_" in value):
        return bool({list, dict} & {*accepted})
    if dict in accepted and isinstance(value, Mapping):
        return True
    return type(value) in accepted
