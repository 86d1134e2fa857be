"""Safe writing of checkpoints: neither a kill nor a full disk costs the one before."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from attnflow.utils.files import WriteError, remove_leftovers, serialized, write_whole
from attnflow.utils.plain import plain

__all__ = ["LAST", "PREVIOUS", "SafeCheckpointIO", "settle"]

LAST = "last.ckpt"
PREVIOUS = "last.previous.ckpt"
# A keeper of the best that has kept nothing.
NOTHING = {
    "best_model_score": None,
    "best_model_path": "",
    "best_k_models": {},
    "kth_best_model_path": "",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unwritten:
    """A checkpoint that could not be written, for want of room or whatever else.

    Attributes:
        content: of the file.
        states: of the callbacks, as the content has them.
        sentence: what is wrong.
    """

    content: memoryview
    states: Mapping[str, Any]
    sentence: str


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes whole checkpoints of plain values, and keeps what it could not write.

    At every moment a checkpoint's file is a whole one: the old or the new. The last ``last.ckpt``
    stays as ``last.previous.ckpt``. Where a write fails, the old file stays, a warning says so and
    training goes on; the new content stays in memory and is tried again with the next checkpoint
    and, by :func:`settle`, at the end. Meanwhile no other checkpoint says that the file holds what
    it does not, and what the new one should have replaced is not removed.

    Attributes:
        unwritten: by path, the newest contents that are not on the disk.
    """

    def __init__(self) -> None:
        self.unwritten: dict[Path, Unwritten] = {}
        self._states: Mapping[str, Any] = {}  # of the callbacks, as the files on the disk are
        self._spared: list[Path] = []
        self._folders: set[Path] = set()

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        checkpoint = super().load_checkpoint(path, *args, **kwargs)
        self._states = checkpoint.get("callbacks", {})
        return checkpoint

    def save_checkpoint(
        self, checkpoint: Mapping[str, Any], path: str | Path, storage_options: object = None
    ) -> None:
        path = Path(path)
        if path.parent not in self._folders:
            remove_leftovers(path.parent)  # of a training that was killed; a run has one writer
            self._folders.add(path.parent)
        self.unwritten.pop(path, None)
        self.retry()
        content = plain(checkpoint, "the checkpoint")
        states = self._states
        if "callbacks" in content:
            content["callbacks"] = states = self._true_states(content["callbacks"])
        self._write(path, serialized(content), states, content.get("global_step"))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a file; Lightning's own would remove a folder too, with all that it holds."""
        if self.unwritten.pop(Path(path), None):
            return
        if self.unwritten:
            self._spared.append(Path(path))
        else:
            Path(path).unlink(missing_ok=True)

    def retry(self) -> None:
        """Try once more to write what could not be written."""
        for path, held in list(self.unwritten.items()):
            self._write(path, held.content, held.states)

    def _write(
        self, path: Path, content: memoryview, states: Mapping[str, Any], step: int | None = None
    ) -> None:
        try:
            write_whole(path, content, path.with_name(PREVIOUS) if path.name == LAST else None)
        except WriteError as error:
            if path not in self.unwritten:
                sentence = f"checkpoint {path} of step {step} could not be written ({error.reason})"
                kept = "the one before stays" if path.exists() else "none of this name is there"
                log.warning("%s; %s, and training goes on.", sentence, kept)
                self.unwritten[path] = Unwritten(content, states, sentence)
            return
        if self.unwritten.pop(path, None):
            log.warning("checkpoint %s could be written now.", path)
        self._states = states
        while self._spared and not self.unwritten:
            self._spared.pop().unlink(missing_ok=True)

    def _true_states(self, states: Mapping[str, Any]) -> dict[str, Any]:
        """The callbacks' states, without those that tell of files which could not be written."""
        return {
            key: self._states[key] if self._untrue(state) else state
            for key, state in states.items()
            if key in self._states or not self._untrue(state)
        }

    def _untrue(self, state: object) -> bool:
        names = state.get("best_k_models", ()) if isinstance(state, Mapping) else ()
        return any(Path(name) in self.unwritten for name in names)

    def true_state(self, keeper: ModelCheckpoint) -> Mapping[str, Any] | None:
        """What a keeper's files hold; None where that is what the keeper says itself."""
        untrue = self._untrue(keeper.state_dict())
        return self._states.get(keeper.state_key, NOTHING) if untrue else None


def settle(trainer: Trainer) -> str | None:
    """Try a last time, after training, to write the checkpoints that could not be written.

    The keepers of the best then tell, on all ranks, what their files hold.

    Returns:
        What could not be written, in one sentence; None if nothing.
    """
    checkpoint_io = trainer.strategy.checkpoint_io
    if not isinstance(checkpoint_io, SafeCheckpointIO):
        return None
    checkpoint_io.retry()
    keepers = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
    sentences = [held.sentence for held in checkpoint_io.unwritten.values()]
    # Rank 0 alone writes.
    states, sentences = trainer.strategy.broadcast(
        ([checkpoint_io.true_state(keeper) for keeper in keepers], sentences)
    )
    for keeper, state in zip(keepers, states, strict=True):
        if state is not None:
            keeper.load_state_dict({**state, "dirpath": keeper.dirpath})
    return "; ".join(sentences) or None
