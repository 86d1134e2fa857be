"""Choose the checkpoint that a run resumes from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from attnflow.errors import AttnFlowError
from attnflow.models.checkpoint import KEY, read_checkpoint
from attnflow.models.checkpoint import find_best as find_weights
from attnflow.models.exported import HUB, WEIGHTS
from attnflow.spec import DataSpec
from attnflow.training.checkpoint_io import LAST, PREVIOUS
from attnflow.training.differences import Difference, check_honoured, differences, table
from attnflow.training.progress import Progress
from attnflow.training.state_check import check_resumed_weights, check_training_state

__all__ = ["Resumed", "find_best", "find_checkpoint", "open_resumed"]

# The checkpoints in a run's folder, the newest first.
CANDIDATES = (LAST, PREVIOUS, "best.ckpt")

log = logging.getLogger(__name__)


def find_checkpoint(resume: str | None, run_dir: Path) -> str | None:
    """The checkpoint that ``resume`` means.

    Args:
        resume: null (start afresh), ``auto`` (this run directory's newest checkpoint, if there
            is one), or the path of a checkpoint or of a run directory.
        run_dir: this run's directory.

    Raises:
        AttnFlowError: there is nothing, or nothing that can be read.
    """
    if resume is None:
        return None
    if resume == "auto":
        return newest_readable(run_dir / "checkpoints")
    path = Path(resume)
    found = newest_readable(path / "checkpoints") if path.is_dir() else path
    if found is None or not Path(found).is_file():
        raise AttnFlowError(
            f"resume: expected 'auto', a checkpoint or a run directory, got {resume!r} "
            f"({found or path / 'checkpoints' / LAST} does not exist)."
        )
    return str(found)


def find_best(path: str) -> str:
    """The checkpoint that ``init_from`` means: a file, a run's best one, or an exported model.

    Raises:
        AttnFlowError: there is no such file.
    """
    given = Path(path)
    if path.startswith(HUB) or (given / WEIGHTS).is_file():
        return str(find_weights(path))
    if not given.is_dir():
        return path
    for name in ("best.ckpt", *CANDIDATES):
        if (given / "checkpoints" / name).is_file():
            return str(given / "checkpoints" / name)
    raise AttnFlowError(
        f"init_from: expected a checkpoint or a run's folder, got {path!r}, which holds no "
        "checkpoints/best.ckpt."
    )


def newest_readable(folder: Path) -> str | None:
    """The checkpoint of a folder that has come furthest; an unreadable one is told and passed over.

    That is the last one, unless another was written after it, by a training that kept no last one.
    """
    newest, furthest, damaged = None, -1, []
    for path in (folder / name for name in CANDIDATES):
        if not path.is_file():
            continue
        if newest and path.stat().st_mtime <= newest.stat().st_mtime:
            continue
        try:
            step = read_checkpoint(path).get("global_step", 0)
        except AttnFlowError as error:
            log.warning("%s", error)
            damaged.append(path.name)
            continue
        if step > furthest:
            newest, furthest = path, step
    if newest and damaged:
        log.warning("training goes on from an older checkpoint, %s of step %s.", newest, furthest)
    if damaged and not newest:
        raise AttnFlowError(
            f"resume: expected a readable checkpoint in {folder}, another checkpoint, or "
            f"resume=null to start afresh, got damaged ones ({', '.join(damaged)})."
        )
    return str(newest) if newest else None


@dataclass(frozen=True)
class Resumed:
    """A training to go on with.

    Attributes:
        path: of the checkpoint.
        progress: how far it has come.
        changes: in which options this run's config is another than the checkpoint's.
        held: what the checkpoint tells of its run.
    """

    path: Path
    progress: Progress
    changes: list[Difference]
    held: Mapping

    def tell(self) -> None:
        """Log where training goes on, and each option that changes there."""
        done = self.progress
        within = f", {done.batches} batches" if done.batches else ""
        log.info("resumed from %s at step %d, epoch %d%s", self.path, done.step, done.epoch, within)
        if self.changes:
            log.info("changed from the next step on:\n%s", table(self.changes))

    def tell_of_no_step(self) -> None:
        """Log that training had ended already."""
        log.info(
            "no step was left to make after step %d; a larger trainer.max_epochs (max_steps, "
            "max_time, which all count over all legs) goes on.",
            self.progress.step,
        )


def open_resumed(path: str, model: nn.Module, config: Mapping, spec: DataSpec) -> Resumed:
    """The training that ``path`` holds, checked against what is to go on with it.

    Args:
        path: of a checkpoint.
        model: which its weights must fit.
        config: this run's, composed, in plain values.
        spec: of this run's data.

    Raises:
        AttnFlowError: it cannot be read, holds weights alone, or differs from this run in what a
            resumed training keeps.
    """
    checkpoint = read_checkpoint(path)
    if "optimizer_states" not in checkpoint:
        raise AttnFlowError(
            f"checkpoint {path}: expected the optimizer state of a training to resume from, got "
            "weights alone."
        )
    held = checkpoint[KEY]
    if "train_images" not in held:
        raise AttnFlowError(
            f"checkpoint {path}: expected a whole config to resume from (init_from=PATH starts "
            f"anew from its weights), got the part that attnflow {held.get('version')} kept."
        )
    check_training_state(checkpoint, path)
    progress = Progress.of_checkpoint(checkpoint)
    changes = differences(held["config"], config)
    check_honoured(changes, progress, path)
    if held["data_spec"] != spec.as_dict():
        raise AttnFlowError(
            f"data: expected {held['data_spec']} as in the checkpoint {path}, got "
            f"{spec.as_dict()}; init_from=PATH starts a new training from its weights."
        )
    check_resumed_weights(checkpoint, model, path)
    check_length(config["trainer"], progress, path)
    return Resumed(Path(path), progress, changes, held)


def check_length(trainer: Mapping, progress: Progress, path: object) -> None:
    """Raise :class:`AttnFlowError` where training is to end before it has come so far."""
    for name, done in (("max_epochs", progress.epoch), ("max_steps", progress.step)):
        bound = trainer.get(name)
        if isinstance(bound, int) and 0 <= bound < done:  # what is no number is refused later on
            raise AttnFlowError(
                f"trainer.{name}: expected {done} or more, which the checkpoint {path} has come "
                f"to, got {bound}."
            )
