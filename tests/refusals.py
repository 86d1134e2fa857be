"""The one sentence with which a command refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest


def refused(command: Callable[..., object], *arguments: object, **named: object) -> str:
    """Run a command that exits with one sentence; returns the sentence."""
    with pytest.raises(SystemExit) as stopped:
        command(*arguments, **named)
    sentence = str(stopped.value.code)
    assert sentence.startswith("error: ")
    assert "\n" not in sentence
    return sentence
