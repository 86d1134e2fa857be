"""The errors that users meet: a sentence, not a traceback."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real

__all__ = ["MOST", "ArgumentError", "AttnFlowError", "check_choice", "check_count", "check_least"]

# The largest count, which leaves arithmetic in int64 room.
MOST = 2**62


class AttnFlowError(ValueError):
    """Bad input or a failed run, told in one sentence.

    The sentence names the thing, its value and what is expected. The commands
    print it alone and exit with status 1; library users catch a ``ValueError``.
    """


class ArgumentError(AttnFlowError):
    """A value that an argument does not take: ``PLACE.ARGUMENT: expected ..., got ...``.

    Attributes:
        argument: its name, or a few words that name the thing.
        expected: what it takes, in words.
        got: the value.
        place: where in a config its owner stands, which who calls it by the config adds; empty in
            Python.
    """

    def __init__(self, argument: str, expected: str, got: object) -> None:
        super().__init__(argument, expected, got)
        self.argument, self.expected, self.got = argument, expected, got
        self.place = ""

    def __str__(self) -> str:
        name = ".".join(filter(None, (self.place, self.argument)))
        return f"{name}: expected {self.expected}, got {self.got!r}."


def check_choice(name: str, value: object, accepted: Iterable[object]) -> None:
    """Raise :class:`ArgumentError` unless ``value`` is one of ``accepted``."""
    accepted = tuple(accepted)
    if value not in accepted:
        raise ArgumentError(name, f"one of {', '.join(map(str, accepted))}", value)


def check_least(name: str, value: object, least: float) -> None:
    """Raise :class:`ArgumentError` where ``value`` is below ``least``, or no number."""
    if not isinstance(value, Real) or value < least:
        raise ArgumentError(name, f"{least} or more", value)


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raise :class:`ArgumentError` unless ``value`` is a whole number of ``least`` or more."""
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < least:
        raise ArgumentError(name, f"a whole number of {least} or more", value)
    if int(value) > MOST:
        raise ArgumentError(name, f"a whole number of {MOST} or less", value)
