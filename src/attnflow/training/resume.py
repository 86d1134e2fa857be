"""Which checkpoint a run goes on from."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from attnflow.checkpoint import check_same_architecture, model_state, read_checkpoint
from attnflow.errors import AttnFlowError

__all__ = ["check_resumable", "find_checkpoint"]

LAST = Path("checkpoints") / "last.ckpt"


def find_checkpoint(resume: str | None, run_dir: Path) -> str | None:
    """The checkpoint that ``resume`` means.

    Args:
        resume: null (start afresh), ``auto`` (this run directory's last.ckpt, if there is
            one), or the path of a checkpoint or of a run directory.
        run_dir: this run's directory.
    """
    if resume is None:
        return None
    if resume == "auto":
        path = run_dir / LAST
        return str(path) if path.is_file() else None
    path = Path(resume)
    if path.is_dir():
        path = path / LAST
    if not path.is_file():
        raise AttnFlowError(
            f"resume is {resume!r}, but {path} does not exist; 'auto', a checkpoint or a run "
            "directory is accepted."
        )
    return str(path)


def check_resumable(path: str, model: nn.Module) -> None:
    """Raise :class:`AttnFlowError` unless training of ``model`` can go on from ``path``."""
    checkpoint = read_checkpoint(path)
    if "optimizer_states" not in checkpoint:
        raise AttnFlowError(
            f"checkpoint {path} holds weights alone, no optimizer state; a checkpoint that "
            "training wrote is accepted to resume from."
        )
    check_same_architecture(model, model_state(checkpoint), path)
