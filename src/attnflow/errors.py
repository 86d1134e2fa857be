"""The one exception that users meet: a sentence, not a traceback."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real

__all__ = ["AttnFlowError", "check_choice", "check_least"]


class AttnFlowError(ValueError):
    """Bad input or a failed run, told in one sentence.

    The sentence names the thing, its value and what is accepted. The commands
    print it alone and exit with status 1; library users catch a ``ValueError``.
    """


def check_choice(name: str, value: object, accepted: Iterable[object]) -> None:
    """Raise :class:`AttnFlowError` unless ``value`` is one of ``accepted``."""
    accepted = tuple(accepted)
    if value not in accepted:
        raise AttnFlowError(f"{name} is {value!r}; accepted are {', '.join(map(str, accepted))}.")


def check_least(name: str, value: object, least: float) -> None:
    """Raise :class:`AttnFlowError` where ``value`` is below ``least``, or no number."""
    if not isinstance(value, Real) or value < least:
        raise AttnFlowError(f"{name} is {value!r}; {least} or more is accepted.")
