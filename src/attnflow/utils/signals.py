"""Signals, which end a command with exit status 128 + signal and without a traceback."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

__all__ = ["ENDING", "end", "end_at_signals", "second_ends", "signals_count_once", "signals_first"]

# Signals of Ctrl-C, of schedulers and ``kill``, and of a terminal that is closed.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)
_count_once = False


def end_at_signals() -> None:
    """Exit with status 128 + signal from here on, but for signals that others handle.

    An ignored signal stays ignored, as nohup wants it. Outside the main thread, do nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for signum in ENDING:
        if signal.getsignal(signum) in _DEFAULTS:
            signal.signal(signum, end)


def end(signum: int, frame: FrameType | None) -> NoReturn:
    """Handle a signal: exit at once."""
    raise SystemExit(128 + signum)


@contextmanager
def signals_first() -> Iterator[None]:
    """Exit at the signal where one interrupts code whose clean-up then fails.

    The exit can come in the middle of anything, such as a copy of a config, whose ``finally`` finds
    half of what it expects; its error would be told instead of the signal.
    """
    try:
        yield
    except BaseException as error:
        status = interrupted(error)
        if status is None:
            raise
        raise SystemExit(status) from None


def interrupted(error: BaseException | None) -> int | None:
    """The exit status of a signal while whose exit an error was raised; None for none."""
    while error is not None:
        if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128:
            return error.code
        error = error.__context__
    return None


def signals_count_once() -> None:
    """Ignore a second Ctrl-C, which reaches a process that another command started twice.

    The command itself counts them, and ends its processes at the second.
    """
    global _count_once
    _count_once = True


def second_ends(first: int, second: int) -> bool:
    """Whether a process that is about to end at one signal ends at once at another."""
    return not _count_once and first != 0 and second == signal.SIGINT
