"""The one exception that users meet: a sentence, not a traceback."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real

from hydra.errors import InstantiationException

__all__ = [
    "ERROR_FILE",
    "SKIPPED_FILE",
    "AttnFlowError",
    "check_choice",
    "check_least",
    "expected_error",
]

# What a sweep's job that failed leaves in its folder,
ERROR_FILE = "error.txt"
# and one that was left out, because it would have repeated another.
SKIPPED_FILE = "skipped.txt"


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


def expected_error(error: BaseException | None) -> str | None:
    """The sentence of the :class:`AttnFlowError` behind ``error``; None for a bug.

    Where a class of another library refuses what the config gives it, its own words, after the
    config group.
    """
    outermost = error
    while error is not None:
        if isinstance(error, AttnFlowError):
            return str(error)
        error = error.__cause__
    if isinstance(outermost, InstantiationException):
        message, _, key = str(outermost).partition("full_key: ")
        cause = outermost.__cause__
        said = f"{key}: {type(cause).__name__}: {cause}" if key and cause else message
        return " ".join(said.split())
    return None
