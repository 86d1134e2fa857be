"""Check what is called, and with what."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from attnflow.errors import ArgumentError, AttnFlowError

__all__ = ["call", "check_kind", "check_seed"]


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


def check_seed(seed: object) -> None:
    """Raise :class:`ArgumentError` for what numpy takes for no seed."""
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise ArgumentError("seed", f"a whole number from 0 to {2**32 - 1}", seed)
