"""Where the configs lie: in the installed package, in a checkout, and in the user's own folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["config_folder", "own_folder", "with_own_folder"]

PACKAGE = Path(__file__).parents[1]
OPTIONS = ("--config-dir", "-cd")


def config_folder() -> Path:
    """The folder of this package's configs: its own ``conf``, or the checkout's that it lies in."""
    installed = PACKAGE / "conf"
    return installed if installed.is_dir() else PACKAGE.parents[1] / "conf"


def own_folder(arguments: Sequence[str]) -> Path | None:
    """The folder of a user's own configs: the one that is given, or ``./conf``; None for none."""
    for number, argument in enumerate(arguments):
        option, _, value = argument.partition("=")
        if option in OPTIONS:
            following = arguments[number + 1 : number + 2]
            return Path(value or next(iter(following), ""))
    here = Path("conf")
    is_own = here.is_dir() and here.resolve() != config_folder().resolve()
    return here if is_own else None


def with_own_folder(arguments: Sequence[str]) -> list[str]:
    """The arguments, and Hydra's own for ``./conf`` where that is a user's and none is given."""
    folder = own_folder(arguments)
    given = any(argument.partition("=")[0] in OPTIONS for argument in arguments)
    if folder is None or given:
        return list(arguments)
    return ["--config-dir", str(folder.absolute()), *arguments]
