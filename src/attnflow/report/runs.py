"""The runs of a folder, as they stand on the disk: finished, failed, damaged or never started."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from attnflow.errors import AttnFlowError
from attnflow.report.announced import announced_jobs
from attnflow.report.records import CONFIG, OVERRIDES, REFERENCE, Reader, by_key, printable
from attnflow.runs.folder_lock import is_held
from attnflow.runs.names import ASIDE, ERROR_FILE, HYDRA, SKIPPED_FILE
from attnflow.runs.reading import read_mapping, read_overrides, read_text
from attnflow.runs.results import FILE_NAME, STOPPED_BY, Curve, read_curve, read_results

__all__ = [
    "DAMAGED",
    "DONE",
    "EVALUATION",
    "FAILED",
    "NEVER_STARTED",
    "RUNNING",
    "SKIPPED",
    "STATES",
    "TRAIN",
    "UNFINISHED",
    "Run",
    "read_runs",
]

DONE, FAILED, DAMAGED, RUNNING = "done", "failed", "damaged", "running"
UNFINISHED, SKIPPED, NEVER_STARTED = "unfinished", "skipped", "never started"
STATES = (DONE, FAILED, DAMAGED, RUNNING, UNFINISHED, SKIPPED, NEVER_STARTED)
MARKS = (HYDRA, FILE_NAME, ERROR_FILE, SKIPPED_FILE)  # what makes a folder that of a run
TRAIN, EVALUATION = "train", "eval"
EXPECTED = "the folder of a sweep, as logs/train/multiruns/<time>, or of several runs"


@dataclass(frozen=True)
class Run:
    """One run's folder.

    Attributes:
        name: the folder, relative to the one that was read.
        folder: its path.
        status: one of :data:`STATES`.
        choices: of every config group.
        overrides: of the command line, by their key.
        leaves: the composed config by dotted keys; of an evaluation, with that of its training.
        derived: the keys of ``leaves`` that the config takes from others.
        figures: the numbers of results.json, None where one was not finite.
        note: the error of a failed run, how far an unfinished one came, which files are damaged,
            which run a skipped one would have repeated; else "".
        task: ``train`` or ``eval``.
        curve: steps and values of val/bpd.
        pictures: its last pictures: of every series by epoch the last one, and all others.
        environment: what it was made with.
    """

    name: str
    folder: Path
    status: str
    choices: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, str] = field(default_factory=dict)
    leaves: Mapping[str, str] = field(default_factory=dict, repr=False)
    derived: frozenset[str] = frozenset()
    figures: Mapping[str, float | None] = field(default_factory=dict)
    note: str = ""
    task: str = TRAIN
    curve: Curve = ([], [])
    pictures: Sequence[Path] = ()
    environment: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def settings(self) -> dict[str, str]:
        """Every option that the run was composed of, and the choice of every config group."""
        composed = {
            key: value
            for key, value in self.leaves.items()
            if key not in self.overrides or not REFERENCE.search(value)
        }
        return {**self.overrides, **composed, **self.choices}

    def setting(self, key: str) -> str:
        """The value of a config group or of a dotted key; "" where there is none."""
        return self.settings.get(key, "")


def read_runs(folder: Path) -> list[Run]:
    """Every run below ``folder``, in the order of their names, numbers by value.

    Raises:
        AttnFlowError: there is no such folder, it cannot be read, or no run is in it.
    """
    if not folder.exists():
        raise AttnFlowError(f"folder {folder} does not exist; {EXPECTED} is accepted.")
    if not folder.is_dir():
        raise AttnFlowError(f"folder {folder} is a file; {EXPECTED} is accepted.")
    os.scandir(folder).close()  # raises OSError where it cannot be read
    runs = [read_run(found, folder, told) for found, told in run_folders(folder, set())]
    if not runs:
        raise AttnFlowError(
            f"folder {folder} holds no run (a folder with .hydra, {FILE_NAME} or {ERROR_FILE}); "
            f"{EXPECTED} is accepted."
        )
    return runs


def run_folders(folder: Path, seen: set[str]) -> Iterator[tuple[Path, Sequence[str]]]:
    """The folders of runs at or below ``folder``, each with what its sweep announced of it.

    Links are followed, but to each folder once. A folder that a sweep announced is given even
    where it does not exist.

    Args:
        seen: the real paths of the folders that were visited; it grows.
    """
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    try:
        names = {entry.name for entry in os.scandir(folder)}
    except OSError:
        yield folder, ()  # reading it says why it is none to compare
        return
    if names & set(MARKS):
        yield folder, ()
        return
    jobs = announced_jobs(folder, names)
    if not names and folder.name.isdecimal():
        yield folder, ()  # of a sweep that announces nothing
    for name in sorted(names | set(jobs), key=_by_number):
        child = folder / name
        if name in jobs:
            seen.add(os.path.realpath(child))
            yield child, jobs[name]
        elif os.path.isdir(child) and not name.startswith((".", ASIDE)):
            yield from run_folders(child, seen)


def read_run(folder: Path, root: Path, announced: Sequence[str] = ()) -> Run:
    """One run's folder, whatever state it is in.

    Args:
        announced: the overrides that its sweep gave it, for one that never started.
    """
    name, reader = printable(str(folder.relative_to(root))), Reader(folder)
    if note := never_started(reader):
        return Run(name, folder, NEVER_STARTED, overrides=by_key(announced), note=note)
    if reader.faults:  # not even its folder can be read
        return Run(name, folder, DAMAGED, overrides=by_key(announced), note=reader.faults[0])
    results = reader.read(read_results, folder, instead={}) if reader.exists(FILE_NAME) else {}
    results.pop(STOPPED_BY, None)
    words = {key: value for key, value in results.items() if isinstance(value, str)}
    leaves = reader.leaves()
    if reader.exists(FILE_NAME) and not reader.exists(CONFIG):
        reader.faults.append(f"{CONFIG}: expected the run's config, got no such file.")
    if leaves and "seed" in results:
        leaves["seed"] = str(results["seed"])
    task = leaves.get("task_name", TRAIN)
    curve = reader.read(read_curve, folder, "val/bpd", instead=([], []))
    parts = {
        "choices": words | reader.choices(),
        "overrides": by_key(reader.file(OVERRIDES, read_overrides, instead=[])),
        "leaves": with_training(leaves) if task == EVALUATION else leaves,
        "derived": reader.derived(),
        "pictures": reader.pictures(),
        "environment": reader.file("environment.json", read_mapping, instead={}),
        "figures": {n: v for n, v in results.items() if n not in words and n != "seed"},
    }
    status, note = state(reader, curve)
    return Run(name, folder, status, note=note, task=task, curve=curve, **parts)


def never_started(reader: Reader) -> str:
    """Why there is nothing of a run; "" where there is something."""
    if not reader.exists("."):
        return (
            "announced by its sweep, but there is no folder: the sweep ended before it, or has "
            "not come to it yet"
        )
    listed = reader.read(os.listdir, reader.folder, instead=None)
    if listed is None or set(MARKS) & set(listed):
        return ""
    return "a folder without .hydra: the run ended before it began, or is just beginning"


def state(reader: Reader, curve: Curve) -> tuple[str, str]:
    """A run's status and the note on it, from what is there and what could not be read."""
    failure = reader.file(ERROR_FILE, read_text, instead=None)
    skipped = reader.file(SKIPPED_FILE, read_text, instead=None)
    if failure is not None:
        return FAILED, "\n".join([failure.strip(), *reader.faults]).strip()
    if skipped is not None and not reader.exists(FILE_NAME):
        return SKIPPED, skipped.strip()
    if reader.faults:
        return DAMAGED, " ".join(reader.faults)
    if reader.exists(FILE_NAME):
        return DONE, ""
    status = RUNNING if is_held(reader.folder) else UNFINISHED
    return status, progress(reader.folder, status, curve)


def progress(folder: Path, status: str, curve: Curve) -> str:
    """How far a run without results came, and when it was last heard of."""
    steps, values = curve
    if status == RUNNING:
        told = "still running"
    elif list(folder.glob("checkpoints/*.ckpt")):
        told = "stopped, or still training; resume goes on from its last checkpoint"
    else:
        told = "stopped before its first checkpoint, or still starting"
    if steps:
        told += f"; at step {steps[-1]:,} the best val/bpd was {min(values):.3f}"
    else:
        told += "; no val/bpd was logged"
    return f"no {FILE_NAME}: {told}; last written {_ago(last_written(folder))}"


def last_written(folder: Path) -> float:
    """When a run last wrote one of its files, in seconds since the epoch."""
    latest = folder.stat().st_mtime
    for top, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # gone meanwhile, as temporary files are
                latest = max(latest, os.lstat(os.path.join(top, name)).st_mtime)
    return latest


def _ago(moment: float) -> str:
    """How long ago a moment was."""
    seconds = max(0, round(time.time() - moment))
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}s ago"
    return f"{seconds} seconds ago"


def with_training(leaves: Mapping[str, str]) -> dict[str, str]:
    """An evaluation's config over that of the training whose checkpoint it read, if it is there."""
    checkpoint = Path(leaves["hydra.runtime.cwd"], leaves.get("ckpt_path", ""))
    return {**Reader(checkpoint.parent.parent).leaves(), **leaves}


def _by_number(name: str) -> tuple[bool, int, str]:
    """Sorts 2 before 10, and numbers before words."""
    number = name.isascii() and name.isdecimal()
    return not number, int(name) if number else 0, name
