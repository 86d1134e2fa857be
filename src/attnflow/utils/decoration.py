"""Optional parts of a run, such as pictures, whose failure must not end it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from attnflow.utils.sentences import expected_error

__all__ = ["decoration"]

log = logging.getLogger(__name__)


@contextmanager
def decoration(name: str) -> Iterator[None]:
    """Warn of whatever fails within, in one line, and go on after it.

    Args:
        name: of what is left out then, such as ``picture levels``.
    """
    try:
        yield
    except Exception as error:  # whatever it is, the numbers matter more
        told = expected_error(error) or f"{type(error).__name__}: {error}"
        log.warning("%s is left out: %s", name, " ".join(told.split()))
        log.debug("%s failed", name, exc_info=True)
