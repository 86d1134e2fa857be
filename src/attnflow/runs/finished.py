"""Check whether a run is finished, with nothing left to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from attnflow.runs.results import measured, read_results

__all__ = ["Finished", "read_finished"]


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
    trainer = config["trainer"]
    bounds = (("max_epochs", epochs), ("max_steps", steps))
    ended = any(trainer.get(n) is not None and 0 <= trainer[n] <= done for n, done in bounds)
    if not ended or "unwritten_checkpoints" in results:
        return None
    if config["test"] and measured(results, "test") is None:
        return None
    sentence = (
        f"{run_dir} is finished after {epochs} epochs, {steps} steps, and nothing was changed; a "
        "larger trainer.max_epochs (trainer.max_steps) goes on."
    )
    return Finished(steps, sentence, score)
