"""Experiment trackers: the names of runs, and their results."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from inspect import signature
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from attnflow.errors import ArgumentError, AttnFlowError, check_choice
from attnflow.models.trust import stands_for_another
from attnflow.utils.files import WriteError
from attnflow.utils.making import make
from attnflow.utils.sentences import expected_error, words
from attnflow.utils.validation import check_entry

__all__ = [
    "TRACKED",
    "continued",
    "finished_wandb",
    "log_summary",
    "make_loggers",
    "named_runs",
    "tracked",
    "wandb_logger",
]

log = logging.getLogger(__name__)
# The methods by which a logger writes files, and the first of them that is called.
OPENING = "log_hyperparams"
WRITING = (OPENING, "log_metrics", "save", "after_save_checkpoint", "finalize")
# What a checkpoint tells of the W&B run that it was logged to, by the logger's options.
TRACKED = {"id": "wandb_id", "name": "wandb_name", "group": "wandb_group"}
MODES = ("online", "offline", "disabled", "shared")  # those of wandb.init


def named_runs(
    config: DictConfig,
    choices: Mapping[str, str],
    continued: Mapping[str, str | None] | None = None,
    evaluated: str | None = None,
) -> DictConfig:
    """The config's ``logger`` group, in which every run has a name.

    A null ``name`` (``run_name``), ``group`` or ``id`` becomes the attention and its placement, the
    sweep's folder, and a new id.

    Args:
        config: one entry a logger.
        choices: of the config groups that made the model.
        continued: of the W&B run to go on with, by :data:`TRACKED`.
        evaluated: the name of the run that an evaluation is of.

    Raises:
        AttnFlowError: an entry that makes no logger, or a name that would be an interpolation: they
            come from checkpoints and folders, too.
    """
    name = run_name(choices) if evaluated is None else f"eval of {evaluated}"
    known = {
        "name": name,
        "run_name": name,
        "group": sweep_name(),
        # A W&B sweep's agent names the run that it waits for; Hydra's own sweeps have many.
        "id": (None if sweep_name() else os.environ.get("WANDB_RUN_ID")) or secrets.token_hex(4),
    }
    for option, key in TRACKED.items():
        known[option] = (continued or {}).get(key) or known[option]
    filled = config.copy()
    for logger, entry in config.items():
        if entry:
            check_entry(f"logger.{logger}", entry)
            nulls = {k: v for k, v in known.items() if k in entry and entry[k] is None}
            for option, value in nulls.items():
                if stands_for_another(value):
                    raise ArgumentError(f"logger.{logger}.{option}", "a name as plain text", value)
            filled[logger] = OmegaConf.merge(entry, nulls)
    return filled


def make_loggers(config: DictConfig) -> list[Logger]:
    """The loggers of the config's ``logger`` group; null ones are left out."""
    entries = {f"logger.{name}": entry for name, entry in config.items() if entry}
    made = {place: make(entry, place) for place, entry in entries.items()}
    return [sheltered(logger, place) for place, logger in made.items()]


def sheltered(logger: Logger, place: str = "") -> Logger:
    """Let training go on where a logger can't write: the disk is full, or its folder gone.

    A warning says so once. A run's hyperparameters are what a logger is told first, with which it
    begins: what it makes of its options is raised there, as an :class:`AttnFlowError`.

    Args:
        logger: of which some methods are replaced.
        place: where it stands in the config.
    """
    told = False

    def guarded(method: Callable[..., None]) -> Callable[..., None]:
        @wraps(method)
        def call(*arguments: object, **options: object) -> None:
            nonlocal told
            try:
                if method.__name__ == OPENING:
                    getattr(logger, "experiment", None)  # which TensorBoard's makes later
                method(*arguments, **options)
            except Exception as error:
                if (reason := storage_error(error)) is None:
                    if place and method.__name__ == OPENING and not expected_error(error):
                        raise refused_options(place, error) from error
                    raise
                if not told:
                    log.warning("%s could not write: %s", type(logger).__name__, reason)
                told = True

        return call

    for name in WRITING:
        setattr(logger, name, guarded(getattr(logger, name)))
    return logger


def refused_options(place: str, error: BaseException) -> AttnFlowError:
    """The error that tells what a tracker says to the options at ``place``."""
    said = shorten(words(error), 300, placeholder=" ...").rstrip(".")
    return AttnFlowError(f"{place}: expected options that its tracker takes, got {said}.")


def storage_error(error: BaseException | None) -> BaseException | None:
    """The error of the disk behind an error, which a logger may take for another; None for none."""
    while error is not None and not isinstance(error, (OSError, WriteError)):
        error = error.__cause__
    return error


def run_name(choices: Mapping[str, str]) -> str:
    """Name a run: ``imap-after_coupling``, in a sweep with the job's number."""
    parts = [choices.get("attention") or "none"]
    if parts != ["none"]:
        parts.append(choices.get("placement") or "none")
    if sweep_name():
        parts.append(str(HydraConfig.get().job.num))
    return "-".join(parts)


def sweep_name() -> str | None:
    """The name of the sweep's folder, which its jobs share; None outside a sweep."""
    held = HydraConfig.get()
    return Path(held.sweep.dir).name if held.mode == RunMode.MULTIRUN else None


def wandb_logger(
    tags: Sequence[str] = (),
    mode: str | None = None,
    log_model: bool | Literal["all"] = False,
    **options: Any,
) -> WandbLogger:
    """Lightning's W&B logger, which works without a key and without asking for one.

    Args:
        tags: of the run.
        mode: ``online``, ``offline``, ``disabled`` or ``shared``; None for ``WANDB_MODE`` or
            W&B's own settings. Without a key, ``online`` becomes ``offline``.
        log_model: checkpoints as artifacts; True at the end of training, ``"all"`` as they are
            written.
        **options: of :class:`~lightning.pytorch.loggers.WandbLogger` and ``wandb.init``.

    Raises:
        AttnFlowError: a mode that W&B does not have, tags that are no list, another log_model, or
            an option of neither.
    """
    if isinstance(tags, str):
        raise ArgumentError("tags", f"a list, as in [{tags}]", tags)
    check_choice("mode", mode, (None, *MODES))
    check_choice("log_model", log_model, (False, True, "all"))
    import wandb  # takes a second, which a training without it should not wait for

    taken = signature(WandbLogger).parameters.keys() | signature(wandb.init).parameters.keys()
    for name, value in options.items():
        if name not in taken - {"kwargs"}:
            raise ArgumentError(name, "an option of WandbLogger or of wandb.init", value)
    mode = mode or wandb.setup().settings.mode
    if mode == "online" and getattr(rank_zero_only, "rank", 0) == 0 and not has_key():
        mode = "offline"
        log.warning(
            "no W&B key was found, so this run is kept in %s/wandb; 'wandb sync' uploads it after "
            "'wandb login'.",
            options.get("save_dir", "."),
        )
    return WandbLogger(tags=list(tags), mode=mode, log_model=log_model, **options)


def has_key() -> bool:
    """Whether the environment, a netrc file or W&B's settings hold a key."""
    import wandb

    return wandb.login(prompt=False, verify=False)


def tracked(config: DictConfig) -> dict[str, str | None]:
    """The W&B run of the config's ``logger`` group, by :data:`TRACKED`; empty without one."""
    for entry in config.values():
        if entry and set(TRACKED) <= set(entry):
            return {key: entry[option] for option, key in TRACKED.items()}
    return {}


def continued(held: Mapping, path: Path, run_dir: Path) -> dict[str, str | None]:
    """The W&B run of a checkpoint that a training goes on with, by :data:`TRACKED`.

    A sweep's job that goes on with another run's checkpoint begins a run, as its fellows go on with
    that one too.

    Args:
        held: what the checkpoint tells.
        path: of the checkpoint.
        run_dir: of the training.
    """
    run = {key: held.get(key) for key in TRACKED.values()}
    if not run["wandb_id"]:
        return {}
    if sweep_name() and run_dir.resolve() not in path.resolve().parents:
        log.info("the W&B run %s is the checkpoint's; this job has one of its own", run["wandb_id"])
        return {}
    return run


@rank_zero_only
def log_summary(loggers: Sequence[Logger], results: Mapping[str, float | int]) -> None:
    """Make ``results`` what W&B's table of runs shows, instead of each figure's last value."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.summary.update(dict(results))


@contextmanager
def finished_wandb() -> Iterator[None]:
    """End the W&B run with its task, or the next job of a sweep would go on in it."""
    failed = True
    try:
        yield
        failed = False
    finally:
        wandb = sys.modules.get("wandb")  # which only a run of it imports
        if wandb is not None and wandb.run is not None:
            wandb.finish(exit_code=int(failed))
