"""Are a config's values of the types that the classes they are given to take?"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Union, get_args, get_origin, get_type_hints

from attnflow.errors import AttnFlowError

__all__ = ["check_config_types", "check_seed", "check_type", "check_types"]

# The types that are checked, in the words of a message.
NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "null",
}


def check_config_types(config: Mapping, name: str = "") -> None:
    """Check the values of every ``_target_`` in a config by its type hints.

    Without it, a word in the place of a number would be found deep inside torch.

    Args:
        config: in plain containers; interpolations stay, and are checked where they lead to.
        name: the dotted key of ``config``, for the message.

    Raises:
        AttnFlowError: a value's type is none that the hint names.
    """
    called = _called(config["_target_"]) if "_target_" in config else None
    if called is not None:
        check_types(called, config, name)
    for key, value in config.items():
        if isinstance(value, Mapping):
            check_config_types(value, f"{name}.{key}" if name else key)


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


def _called(target: str) -> Callable | None:
    """What holds the hints of a dotted name's arguments; None where there is no such thing."""
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):  # told by who instantiates it
        return None
    return found.__init__ if isinstance(found, type) else found


def _plain_types(hint: object) -> tuple[type, ...]:
    """The types of a hint; () where one of them is not in :data:`NAMES`.

    Tensors do not count, which torch's optimizers take for a number: a config holds none.
    """
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = tuple(k for k in kinds if getattr(k, "__name__", "") != "Tensor")
    return kinds if all(kind in NAMES for kind in kinds) else ()


def _fits(value: Any, accepted: tuple[type, ...]) -> bool:
    """Whether a value is of one of the types; a whole number is a number, true is none."""
    if isinstance(value, str) and "${" in value:
        return True
    if isinstance(value, int) and not isinstance(value, bool) and float in accepted:
        return True
    return type(value) in accepted
