"""The best checkpoint over all legs of a run, wherever they lie."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from attnflow.errors import AttnFlowError
from attnflow.models.checkpoint import read_checkpoint
from attnflow.utils.files import write_whole

__all__ = ["carry_best"]

log = logging.getLogger(__name__)


def carry_best(checkpoint: dict[str, Any], path: Path, trainer: Trainer) -> None:
    """Hand the best checkpoints of earlier legs to the callbacks that keep the best.

    Lightning forgets scores where a run's folder has another path, and removes what the checkpoint
    calls its files, whatever they are. Here the states are made anew: of files that the checkpoint
    names, those are kept which hold the score that it notes, copied into the run's own folder.
    Where none is there, a warning says that the best is kept from here on.

    Args:
        checkpoint: that training goes on from; its callbacks' states are replaced.
        path: where that checkpoint lies, and the best ones beside it.
        trainer: with the callbacks that keep the best.

    Raises:
        AttnFlowError: none is to be kept from here on, where one was.
    """
    states, folder = checkpoint["callbacks"], path.parent
    keepers = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
    for keeper in keepers:
        _check_goes_on_keeping(keeper, _noted(keeper, states), path)
    for keeper in keepers:
        noted = _noted(keeper, states)
        states.pop(keeper.state_key, None)
        kept = _carried(noted, folder, keeper, checkpoint["global_step"], trainer)
        if noted and not kept and trainer.is_global_zero:
            log.warning(
                "the best checkpoint up to step %d (%s %.4g) is not in %s; the best from here on "
                "is kept.",
                checkpoint["global_step"],
                keeper.monitor,
                min(noted.values()),
                folder,
            )
        if kept:
            states[keeper.state_key] = _going_on(keeper, kept)


def _check_goes_on_keeping(keeper: ModelCheckpoint, noted: Mapping[str, float], path: Path) -> None:
    """Raise :class:`AttnFlowError` where an old best would lie beside figures of another step."""
    if noted and keeper.save_top_k == 0:
        raise AttnFlowError(
            "callbacks.checkpoint.save_top_k: expected 1 or more, as the run of the checkpoint "
            f"{path} has kept its best, in {Path(min(noted, key=noted.__getitem__)).name}, got 0."
        )


def _noted(keeper: ModelCheckpoint, states: Mapping[str, Any]) -> dict[str, float]:
    """The files that a keeper of the same metric noted, with their scores."""
    for key, state in states.items():
        if key.startswith(type(keeper).__qualname__) and state.get("monitor") == keeper.monitor:
            return {str(path): float(score) for path, score in state["best_k_models"].items()}
    return {}


def _carried(
    noted: Mapping[str, float], folder: Path, keeper: ModelCheckpoint, step: int, trainer: Trainer
) -> dict[str, Tensor]:
    """The noted files, in the keeper's own folder, with their scores."""
    kept: dict[str, Tensor] = {}
    for path, score in ((Path(path), score) for path, score in noted.items()):
        assert keeper.dirpath is not None  # training sets it before it loads
        own = Path(keeper.dirpath) / path.name
        # The checkpoint's own folder comes first, as the run may have been moved.
        places = [folder / path.name, path]
        found = next((p for p in places if _holds(p, score, step, keeper.monitor)), None)
        if trainer.is_global_zero:
            _place(found, own)
        if found:
            kept[str(own)] = torch.tensor(score)
    return kept


def _holds(path: Path, score: float, step: int, monitor: str | None) -> bool:
    """Whether a file is the checkpoint that was noted with this score, up to this step."""
    try:
        content = read_checkpoint(path)
        states = [s for s in content["callbacks"].values() if isinstance(s, Mapping)]
        own = [float(s["current_score"]) for s in states if s.get("monitor") == monitor]
        return score in own and content["global_step"] <= step
    except (AttnFlowError, AttributeError, KeyError, TypeError, ValueError):
        return False


def _place(found: Path | None, own: Path) -> None:
    """Copy a kept file to its own place; what lies there, of a later step, is not overwritten."""
    if found and own.exists() and own.samefile(found):
        return
    if own.exists():
        aside = own.with_name(f"{own.stem}.later{own.suffix}")
        own.replace(aside)
        log.warning("%s is of a step that is made again; it lies in %s now.", own, aside)
    if found:
        write_whole(own, found.read_bytes())


def _going_on(keeper: ModelCheckpoint, kept: Mapping[str, Tensor]) -> dict[str, Any]:
    """The keeper's state, as if it had kept these files itself."""
    sign = 1 if keeper.mode == "min" else -1
    most = len(kept) if keeper.save_top_k == -1 else keeper.save_top_k
    ranked = sorted(kept, key=lambda path: sign * float(kept[path]))[:most]
    full = ranked and len(ranked) == keeper.save_top_k
    return {
        "monitor": keeper.monitor,
        "dirpath": keeper.dirpath,
        "best_k_models": {path: kept[path] for path in ranked},
        "best_model_path": ranked[0] if ranked else "",
        "best_model_score": kept[ranked[0]] if ranked else None,
        "current_score": None,
        "kth_best_model_path": ranked[-1] if ranked else "",
        "kth_value": kept[ranked[-1]] if full else torch.tensor(sign * math.inf),
        "last_model_path": "",
    }
