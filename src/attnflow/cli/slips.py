"""Slips on the command line that Hydra tells in a traceback, or in a parser's words."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["check_slips"]


def check_slips(arguments: Sequence[str], conf: Path) -> None:
    """Exit with one sentence where an argument gives what its option can't be.

    Args:
        arguments: of the command line.
        conf: the folder of the config groups.
    """
    for argument in arguments:
        option, _, value = argument.partition("=")
        if value.startswith("~"):
            sys.exit(
                f"error: {option}: expected a path with ~ in quotes of its own, as in "
                f"\"{option}='{value}'\", got {value}."
            )
        if value != "null":
            continue
        if option in ("hydra.run.dir", "hydra.sweep.dir"):
            sys.exit(f"error: {option}: expected a folder, got null.")
        if choices := sorted(path.stem for path in (conf / option).glob("*.yaml")):
            sys.exit(f"error: {option}: expected one of {', '.join(choices)}, got null.")
