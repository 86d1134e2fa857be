"""The code that the commands share: run a task, tell errors, keep a sweep going."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback as HydraCallback
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict, read_write

from attnflow.cli.containers import as_dict, as_list
from attnflow.cli.launch import is_first
from attnflow.cli.places import check_places
from attnflow.cli.ranks import count_ranks, run_ranks
from attnflow.cli.repeats import original_of, skip
from attnflow.cli.sentences import sentence_of
from attnflow.cli.sweep_folder import failed_jobs
from attnflow.cli.unread import check_added, check_all_read
from attnflow.cli.workers import in_worker, worker
from attnflow.runs.aside import put_back
from attnflow.runs.folder_lock import lock_folder, release_folder
from attnflow.runs.hydra_records import adopt_records, drop_records, holds_records_alone
from attnflow.runs.names import ERROR_FILE, HYDRA, RESULTS, SKIPPED_FILE, TRAIN
from attnflow.utils.arguments import check_seed
from attnflow.utils.decoration import decoration
from attnflow.utils.files import WriteError, write_whole
from attnflow.utils.signals import end_at_signals, signals_first
from attnflow.utils.validation import argument_hints, check_config, locate

__all__ = ["FailedJobs", "do", "exit_status", "plain_config", "run"]

log = logging.getLogger(__name__)
_failed_jobs: list[Path] = []


def run(task: Callable[[DictConfig], float | None], config: DictConfig) -> float | None:
    """Run ``task(config)``, in one process a rank; an expected error is told in one sentence.

    A run that fails leaves ``error.txt`` in its folder. A single one exits with status 1; a
    sweep's job counts as infinitely bad, the other jobs go on, and the sweep exits with status 1
    at its end (:func:`exit_status`); one that would repeat another is left out. What is refused to
    resume a run, or fails to overwrite one before it has written anything, leaves that as it is;
    another command than training that is so refused leaves no folder.
    """
    logging.raiseExceptions = False  # a log on a full disk: not a traceback for each line
    hydra = HydraConfig.get()
    sweeping = hydra.mode == RunMode.MULTIRUN
    folder = Path(hydra.runtime.output_dir)
    end_at_signals()
    resuming = any((folder / name).exists() for name in RESULTS)
    if is_first(config) and not (folder / HYDRA).exists():
        adopt_records(folder)  # a sweep's job that has none
    if sweeping:
        for name in (ERROR_FILE, SKIPPED_FILE):  # of an earlier try
            (folder / name).unlink(missing_ok=True)
    ended = worker(Path(hydra.sweep.dir)) if sweeping and in_worker(hydra) else nullcontext()
    refused = False
    try:
        with ended, signals_first():
            if is_first(config):
                lock_folder(folder, "hydra.sweep.dir" if sweeping else "hydra.run.dir")
            if "seed" in config:
                check_seed(config.seed)
            leave_fused_out(config)
            check_config(given(config))
            check_read(config)
            check_places(config, folder)
            original = original_of(config, folder, Path(hydra.sweep.dir)) if sweeping else None
            if original:
                value = skip(folder, original)
            elif ranks := count_ranks(config):
                value = run_ranks(task, config, ranks)
            else:
                value = task(config)
    except Exception as error:
        sentence = sentence_of(error, config)
        told = sentence or traceback.format_exc()
        if sweeping:
            log.error("job failed: %s", told)
            try:
                write_whole(folder / ERROR_FILE, told)
            except WriteError as full:  # nobody would know of the failed job
                sys.exit(f"error: {full}")
            return float("inf")
        task_name = config.task_name
        restored = bool(config.get("overwrite")) and put_back(folder)
        has_nothing = task_name != TRAIN and holds_records_alone(folder, task_name)
        refused = sentence is not None and has_nothing and not restored
        if not (resuming or restored or refused):
            with decoration(ERROR_FILE):
                write_whole(folder / ERROR_FILE, told)
        if sentence is None:
            raise
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            traceback.print_exc()
        sys.exit(f"error: {sentence}")
    else:
        (folder / ERROR_FILE).unlink(missing_ok=True)  # of an earlier try
        return value
    finally:
        if is_first(config):
            drop_records(folder)
        release_folder(folder)
        if refused and is_first(config):
            shutil.rmtree(folder, ignore_errors=True)


def do(task: Callable[[DictConfig], None], config: DictConfig) -> None:
    """Do what writes no folder of its own; an expected error is told in one sentence."""
    try:
        with signals_first():
            check_read(config)
            task(config)
    except Exception as error:
        sentence = sentence_of(error, config)
        if sentence is None:
            raise
        sys.exit(f"error: {sentence}")


def check_read(config: DictConfig) -> None:
    """Raise :class:`AttnFlowError` for an option on the command line that nobody reads."""
    hydra = HydraConfig.get()
    choices, overrides = hydra.runtime.choices, as_list(hydra.overrides.task)
    check_added(as_dict(config), overrides, list(choices), str(hydra.job.config_name))
    if "model" in config:
        check_all_read(as_dict(config), overrides, str(choices.get("model")))


class FailedJobs(HydraCallback):
    """Notes which jobs of a sweep failed, wherever their launcher ran them."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Forget the sweep of a command that this process ran before."""
        _failed_jobs.clear()

    on_multirun_start = on_run_start

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Look for what failed jobs left in the sweep's folder."""
        _failed_jobs.extend(failed_jobs(Path(config.hydra.sweep.dir)))


def exit_status() -> int:
    """1 if a job of this command's sweep failed, else 0."""
    return int(bool(_failed_jobs))


def given(config: DictConfig) -> dict[str, Any]:
    """The options that a command is given, in plain containers, interpolations as they are.

    Those of a checkpoint's data that are null are not: they are what the checkpoint holds.
    """
    plain = as_dict(config)
    if "data" in plain and "ckpt_path" in plain:
        plain["data"] = {name: value for name, value in plain["data"].items() if value is not None}
    return plain


def leave_fused_out(config: DictConfig) -> None:
    """Take ``optimizer.fused`` away where it is null and the optimizer has no such option."""
    optimizer = config.get("optimizer")
    if not isinstance(optimizer, DictConfig) or optimizer.get("fused", False) is not None:
        return
    made = locate(optimizer.get("_target_"), "optimizer")
    if made is None:
        return
    hints, takes_others = argument_hints(made)
    if "fused" not in hints and not takes_others:
        with read_write(config), open_dict(config):
            del optimizer["fused"]


def plain_config(config: DictConfig) -> dict[str, Any]:
    """The composed config in plain Python values, with the choice of every config group."""
    plain = as_dict(config, resolve=True)
    choices = HydraConfig.get().runtime.choices
    plain["choices"] = {
        group: choice
        for group, choice in choices.items()
        if choice is not None and group.split("/")[0] not in ("hydra", "paths")
    }
    return plain
