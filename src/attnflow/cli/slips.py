"""Checks of command-line mistakes that Hydra reports by a traceback or a parser's message."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

__all__ = ["check_plugins", "check_slips", "named_data", "named_subject"]

# Arguments that add a folder of configs, whose recipes may be called as they like.
OWN_CONFIGS = ("--config-dir", "-cd", "hydra.searchpath=")
# Options that need a plugin of Hydra's, which has our extra's name in brackets.
PLUGINS = {
    "hparams_search=optuna": ("hydra-optuna-sweeper", "search"),
    "launcher=joblib": ("hydra-joblib-launcher", "launchers"),
    "launcher=ray": ("hydra-ray-launcher", "ray"),
    "launcher=slurm": ("hydra-submitit-launcher", "launchers"),
}


def check_slips(arguments: Sequence[str], conf: Path) -> None:
    """Exit with one sentence where an argument gives what its option can't be.

    Args:
        arguments: of the command line.
        conf: the folder of the config groups.
    """
    own_configs = any(argument.startswith(OWN_CONFIGS) for argument in arguments)
    for argument in arguments:
        option, _, value = argument.partition("=")
        if value.startswith("~"):
            sys.exit(
                f"error: {option}: expected a path with ~ in quotes of its own, as in "
                f"\"{option}='{value}'\", got {value}."
            )
        if option == "experiment" and not own_configs:
            _check_recipe(value, conf)
        if value != "null":
            continue
        if option in ("hydra.run.dir", "hydra.sweep.dir", "out"):
            kind = "a path" if option == "out" else "a folder"
            sys.exit(f"error: {option}: expected {kind}, got null.")
        if choices := sorted(path.stem for path in (conf / option).glob("*.yaml")):
            sys.exit(f"error: {option}: expected one of {', '.join(choices)}, got null.")


def check_plugins(arguments: Sequence[str]) -> None:
    """Exit with one sentence where an option's plugin is not installed.

    Hydra itself would say, while it composes the config, that some option does not exist.
    """
    for option, (package, extra) in PLUGINS.items():
        if option not in arguments:
            continue
        try:
            distribution(package)
        except PackageNotFoundError:
            sys.exit(
                f"error: {option} needs the package {package}, which is not installed; "
                f"pip install 'attnflow[{extra}]' brings it."
            )


def named_data(arguments: Sequence[str], conf: Path) -> list[str]:
    """The arguments, ``against=NAME`` of a data set as Hydra calls it.

    A folder is a value of the option, a data set's name a choice of its group.
    """
    found = []
    for argument in arguments:
        option, _, value = argument.partition("=")
        is_name = option == "against" and (conf / "data" / f"{value}.yaml").is_file()
        found.append(f"data@against={value}" if is_name else argument)
    return found


def named_subject(arguments: Sequence[str], option: str | None) -> list[str]:
    """The arguments, of which a first one without a name or a dash is a value of an option."""
    first = next(iter(arguments), "")
    is_named = first.startswith("-") or ("=" in first and not Path(first).exists())
    if option is None or not first or is_named:
        return list(arguments)
    quoted = first.replace("\\", "\\\\").replace("'", "\\'")
    return [f"{option}='{quoted}'", *arguments[1:]]


def _check_recipe(value: str, conf: Path) -> None:
    """Exit where an experiment is a recipe's name with an attention's behind it.

    Recipes were once files of that name, one for each attention.
    """
    recipe, _, attention = value.partition(",")[0].rpartition("_")
    is_recipe = (conf / "experiment" / f"{recipe}.yaml").is_file()
    if is_recipe and (conf / "attention" / f"{attention}.yaml").is_file():
        sys.exit(
            "error: experiment: expected a recipe, with the attention beside it, as in "
            f"experiment={recipe} attention={attention}, got {value}."
        )
