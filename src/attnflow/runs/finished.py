"""Check whether a run is finished, with nothing left to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from attnflow.runs.results import STOPPED_BY, measured, read_results

__all__ = ["Finished", "early_stopping", "reached_ends", "read_finished"]


@dataclass(frozen=True)
class Finished:
    """A run that has come to its end and has written its results.

    Attributes:
        step: that it ended at.
        sentence: that says so.
        score: its ``val/bpd``, or ``val/noisy_bpd`` of a model of noisy images.
    """

    step: int
    sentence: str
    score: float


def read_finished(run_dir: Path, config: Mapping) -> Finished | None:
    """The run in a folder, where its results are there and no step of ``config`` is left to do.

    Args:
        run_dir: of the run.
        config: of the command that would go on with it.

    Returns:
        None where there is something to train or to test.
    """
    try:
        results = read_results(run_dir)
        names = ("epochs", "steps", measured(results, "val") or "val/bpd")
        epochs, steps, score = (results[name] for name in names)
    except (OSError, ValueError, KeyError):
        return None
    ends = reached_ends(config["trainer"], epochs, steps, results.get("train/seconds"))
    stopped = early_stopping(config.get("callbacks") or {})
    if ends:
        further = f"a larger {' and '.join(ends)} goes on"
    elif stopped and results.get(STOPPED_BY) == stopped:
        further = f"{stopped} stopped it, and with other options it goes on"
    else:
        return None
    if "unwritten_checkpoints" in results:
        return None
    if config["test"] and measured(results, "test") is None:
        return None
    sentence = (
        f"{run_dir} is finished after {epochs} epochs, {steps} steps, and nothing was changed; "
        f"{further}."
    )
    return Finished(steps, sentence, score)


def reached_ends(trainer: Mapping, epochs: int, steps: int, seconds: float | None) -> list[str]:
    """The trainer's options by which a training ends where it is, with their values.

    Args:
        trainer: its options.
        epochs, steps: done.
        seconds: of training, as far as ``max_time`` counts; None where it did not.
    """
    done = {"epochs": epochs, "steps": steps}
    most = {name: trainer.get(f"max_{name}") for name in done}
    # What is no number is refused later on.
    ends = {n: end for n, end in most.items() if isinstance(end, int) and 0 <= end <= done[n]}
    told = [f"trainer.max_{name} ({end})" for name, end in ends.items()]
    least = {name: trainer.get(f"min_{name}") for name in done}
    may_stop = not any(isinstance(end, int) and end > done[n] for n, end in least.items())
    longest = trainer.get("max_time")
    if may_stop and longest is not None and seconds is not None and seconds_of(longest) <= seconds:
        told.append(f"trainer.max_time ({longest}, over all legs)")
    return told


def early_stopping(callbacks: Mapping) -> str:
    """What may stop a training before its end, with its options; empty where nothing may.

    Args:
        callbacks: of the config.
    """
    told = []
    for name, entry in callbacks.items():
        target = entry.get("_target_") if isinstance(entry, Mapping) else None
        if str(target).endswith(".EarlyStopping"):
            options = (f"{key}={value}" for key, value in entry.items() if key != "_target_")
            told.append(f"callbacks.{name} ({', '.join(options)})")
    return " and ".join(told)


def seconds_of(duration: object) -> float:
    """The seconds that a ``max_time`` means; infinitely many where Lightning refuses it."""
    # Imported here: it takes seconds, and few trainings are bounded so.
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch.callbacks import Timer

    try:
        given = dict(duration) if isinstance(duration, Mapping) else duration
        return cast(float, Timer(cast(str, given)).time_remaining())
    except (MisconfigurationException, TypeError, AttributeError):
        return math.inf
