"""Which runs may stand in one table: those whose figures are of the same images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from attnflow.report.runs import EVALUATION, Run

__all__ = ["Comparable", "comparable"]

# Options of the data that change how images are read, not which ones figures are about.
READING = (
    "_target_",
    "augment",
    "check_images",
    "download",
    "global_batch_size",
    "in_memory",
    "num_workers",
    "seed",
    "skip_corrupt",
    "streaming",
)
# Options by which figures are of some of the images alone.
PARTS = ("trainer.limit_val_batches", "trainer.limit_test_batches", "trainer.fast_dev_run")
WHOLE = ("", "null", "1.0", "False")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Comparable:
    """Runs of one kind on the same images.

    Attributes:
        task: ``train`` or ``eval``.
        data: the choice of the data group.
        options: what else makes their figures comparable, by key.
        runs: at least one.
    """

    task: str
    data: str
    options: dict[str, str]
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """What the runs are, in words."""
        kind = "Evaluations on" if self.task == EVALUATION else "Trainings on"
        given = self.options["conditioning"]
        return f"{kind} {self.data}" + (f" given {given}" if given not in ("none", UNKNOWN) else "")


def comparable(runs: Sequence[Run]) -> list[Comparable]:
    """The runs whose settings are known, by what makes them comparable; trainings first."""
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        if run.leaves:
            data = run.setting("data") or UNKNOWN
            groups.setdefault((run.task, data, tuple(_options(run).items())), []).append(run)
    found = [
        Comparable(task, data, dict(options), tuple(members))
        for (task, data, options), members in groups.items()
    ]
    return sorted(found, key=lambda group: (group.task == EVALUATION, group.data))


def _options(run: Run) -> dict[str, str]:
    """What makes a run's figures comparable with another's, beside the name of its data."""
    known = {key for key in run.leaves if key.startswith("data.")}
    options = {
        key: _same_path(run.setting(key))
        for key in sorted(known)
        if key.split(".")[1] not in READING
        # Where a public set was downloaded to does not change it.
        and not (key == "data.data_dir" and "data.download" in known)
    }
    if "data._target_" not in known:
        options["data options"] = UNKNOWN
    options["conditioning"] = run.setting("conditioning") or UNKNOWN
    return options | {key: value for key in PARTS if (value := run.setting(key)) not in WHOLE}


def _same_path(value: str) -> str:
    """An absolute path without what does not change it, as ``..``; anything else as it is."""
    return os.path.normpath(value) if os.path.isabs(value) else value
