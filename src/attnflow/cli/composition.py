"""Tell in one sentence what is wrong with options that Hydra cannot compose a config of."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from shutil import rmtree

from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from attnflow.runs.folder_lock import held_folders, release_folder
from attnflow.runs.names import SWEEP

__all__ = ["composed", "composing", "flags_first"]

# Hydra raises what it cannot do where this is set, and prints it in its own way where it is not.
FULL_ERROR = "HYDRA_FULL_ERROR"
# Set beside it by :func:`composing`, so that a user's own setting stays.
OURS = "ATTNFLOW_COMPOSING"
MULTIRUN = ("-m", "--multirun")
NO_KEY = re.compile(r"Could not override '([^']+)'")
NO_VALUE = re.compile(r"Could not delete from config. '([^']+)' does not exist")


@contextmanager
def composing(arguments: Sequence[str], command: str) -> Iterator[None]:
    """Exit with one sentence where no config can be composed of the arguments.

    Args:
        arguments: of the command line.
        command: whose options they are.
    """
    if FULL_ERROR in os.environ:
        yield
        return
    os.environ |= {FULL_ERROR: "1", OURS: "1"}
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        leave_nothing()
        sys.exit(f"error: {told(error, arguments, command)}")
    finally:
        composed()


def leave_nothing() -> None:
    """Remove the folder of a sweep whose jobs' configs cannot be composed."""
    for folder in held_folders():
        release_folder(folder)
        if {path.name for path in folder.iterdir()} <= {SWEEP}:
            rmtree(folder, ignore_errors=True)


def composed() -> None:
    """Leave what is raised from here on to the command, and Hydra as the user has set it."""
    if os.environ.pop(OURS, None):
        os.environ.pop(FULL_ERROR, None)


def flags_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with ``-m`` before all options, as Hydra wants it; the rest is checked.

    Exits with one sentence for a flag that Hydra does not have, or one without its value.
    """
    sweeps = [argument for argument in arguments if argument in MULTIRUN]
    ordered = sweeps[:1] + [argument for argument in arguments if argument not in MULTIRUN]
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            get_args_parser().parse_args(ordered)
    except SystemExit as stopped:
        if stopped.code != 2:
            raise
        words = said.getvalue().strip().rpartition("error: ")[2]
        sys.exit(
            "error: the command line: expected options as key=value, after flags such as -m and "
            f"--cfg job, got others ({words})."
        )
    return ordered


def told(error: Exception, arguments: Sequence[str], command: str) -> str:
    """What is wrong with the arguments, in a sentence."""
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override}: expected key=value, the value in quotes of its own where it holds "
            "a space, a comma, =, brackets or quotes, as in \"out='a b'\"."
        )
    text = str(error)
    if isinstance(error, MissingConfigException) and error.options:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        return f"{group}: expected one of {', '.join(error.options)}, got {option}."
    if found := NO_KEY.search(text):
        return no_option(found[1], arguments, command)
    if found := NO_VALUE.search(text):
        return f"~{found[1]}: expected an option that holds a value, got one that holds none."
    return " ".join([*text.split(), *str(error.__cause__ or "").split()]).rstrip(".") + "."


def no_option(key: str, arguments: Sequence[str], command: str) -> str:
    """That there is no such option, with those of the name that is nearest."""
    from difflib import get_close_matches

    from attnflow.cli.unread import options_of

    written = next((each for each in arguments if each.lstrip("+~").startswith(f"{key}=")), key)
    root, dot, _ = key.partition(".")
    known = options_of(command)
    if dot and root in known:
        return (
            f"{written}: expected an option that {root} holds (--cfg job shows them all; "
            f"+{written} adds one to what {root} is made with), got none of that name."
        )
    near = get_close_matches(root, sorted(known), n=1)
    hint = f" such as {near[0]}" if near else ""
    return (
        f"{written}: expected an option of attnflow {command}{hint} (--help lists them), got none "
        "of that name."
    )
