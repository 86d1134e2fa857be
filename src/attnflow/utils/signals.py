"""How a signal ends a command: by its exit status, 128 + signal, without a traceback."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import NoReturn

__all__ = ["ENDING", "end", "end_at_signals", "second_ends", "signals_count_once"]

# Ctrl-C, what schedulers and people send, and a terminal that is closed.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)
_count_once = False


def end_at_signals() -> None:
    """From here on, unwind and exit with status 128 + signal; what others handle is theirs.

    An ignored signal stays ignored, as nohup wants it. Outside the main thread, do nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for signum in ENDING:
        if signal.getsignal(signum) in _DEFAULTS:
            signal.signal(signum, end)


def end(signum: int, frame: FrameType | None) -> NoReturn:
    """A signal's handler: end now."""
    raise SystemExit(128 + signum)


def signals_count_once() -> None:
    """Of a process that another command started: a terminal's Ctrl-C reaches it twice.

    It is the command that counts, and ends its processes at the second.
    """
    global _count_once
    _count_once = True


def second_ends(first: int, second: int) -> bool:
    """Whether a process that is about to end at one signal ends at once at another."""
    return not _count_once and first != 0 and second == signal.SIGINT
