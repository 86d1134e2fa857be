"""Which checkpoint a run goes on from."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import nn

from attnflow.checkpoint import check_same_architecture, model_state, read_checkpoint
from attnflow.errors import AttnFlowError
from attnflow.training.checkpoint_io import LAST, PREVIOUS

__all__ = ["check_resumable", "find_checkpoint"]

# In a run's folder, the newest first.
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
            f"resume is {resume!r}, but {found or path / 'checkpoints' / LAST} does not exist; "
            "'auto', a checkpoint or a run directory is accepted."
        )
    return str(found)


def newest_readable(folder: Path) -> str | None:
    """The newest checkpoint of a folder; an unreadable one is told and passed over."""
    damaged = []
    for path in (folder / name for name in CANDIDATES):
        if not path.is_file():
            continue
        try:
            step = read_checkpoint(path).get("global_step")
        except AttnFlowError as error:
            log.warning("%s", error)
            damaged.append(path.name)
            continue
        if damaged:
            log.warning("training goes on from an older checkpoint, %s of step %s.", path, step)
        return str(path)
    if damaged:
        raise AttnFlowError(
            f"no checkpoint in {folder} can be read ({', '.join(damaged)}); another checkpoint, or "
            "resume=null to start afresh, is accepted."
        )
    return None


def check_resumable(path: str, model: nn.Module) -> dict:
    """The checkpoint that training of ``model`` goes on from.

    Raises:
        AttnFlowError: it cannot be read, holds weights alone or another architecture.
    """
    checkpoint = read_checkpoint(path)
    if "optimizer_states" not in checkpoint:
        raise AttnFlowError(
            f"checkpoint {path} holds weights alone, no optimizer state; a checkpoint that "
            "training wrote is accepted to resume from."
        )
    check_same_architecture(model, model_state(checkpoint), path)
    return checkpoint
