"""The best checkpoint of a training in several legs, wherever they lie."""

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

from attnflow.checkpoint import read_checkpoint
from attnflow.errors import AttnFlowError
from attnflow.utils.files import write_whole

__all__ = ["carry_best"]

log = logging.getLogger(__name__)


def carry_best(checkpoint: dict[str, Any], folder: Path, trainer: Trainer) -> None:
    """Let the keepers of the best go on from what was kept before.

    Lightning forgets scores where a run's folder has another path. Here the files that were kept
    are copied into the run's own folder, with the scores that they hold themselves; where they are
    gone, a warning says that the best is kept from here on.

    Args:
        checkpoint: that training goes on from; its callbacks' states are replaced.
        folder: where that checkpoint lies, and the best ones beside it.
        trainer: with the callbacks that keep the best.
    """
    for keeper in trainer.checkpoint_callbacks:
        if not isinstance(keeper, ModelCheckpoint):
            continue
        state = _state_of(keeper, checkpoint["callbacks"])
        if state is None:
            continue
        kept = _carried(state, folder, Path(keeper.dirpath), trainer)
        if state["best_k_models"] and not kept and trainer.is_global_zero:
            log.warning(
                "the best checkpoint so far (%s %.4g) is not in %s; the best from here on is kept.",
                keeper.monitor,
                float(state["best_model_score"]),
                folder,
            )
        checkpoint["callbacks"][keeper.state_key] = _going_on(keeper, state, kept)


def _state_of(keeper: ModelCheckpoint, states: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a keeper of the same metric held, whatever its other options."""
    for key, state in states.items():
        if key.startswith(type(keeper).__qualname__) and state.get("monitor") == keeper.monitor:
            return state
    return None


def _carried(
    state: Mapping[str, Any], folder: Path, target: Path, trainer: Trainer
) -> dict[str, Tensor]:
    """The kept files, in the folder ``target``, with their scores."""
    kept = {}
    for path in map(Path, state["best_k_models"]):
        # Beside the checkpoint first: the run may have been moved, and another lie there now.
        for found in (folder / path.name, path):
            score = _score(found, state["monitor"])
            if score is None:
                continue
            own = target / found.name
            if trainer.is_global_zero and not (own.exists() and own.samefile(found)):
                write_whole(own, found.read_bytes())
            kept[str(own)] = score
            break
    return kept


def _score(path: Path, monitor: str) -> Tensor | None:
    """The metric of the weights in a file, as its keeper noted it; None where it can't be read."""
    try:
        states = read_checkpoint(path)["callbacks"]
    except (AttnFlowError, KeyError):
        return None
    for state in states.values():
        if isinstance(state, Mapping) and state.get("monitor") == monitor:
            return state["current_score"]
    return None


def _going_on(
    keeper: ModelCheckpoint, before: Mapping[str, Any], kept: Mapping[str, Tensor]
) -> dict[str, Any]:
    """The keeper's state, as if it had kept these files itself."""
    sign = 1 if keeper.mode == "min" else -1
    most = len(kept) if keeper.save_top_k == -1 else keeper.save_top_k
    ranked = sorted(kept, key=lambda path: sign * float(kept[path]))[:most]
    full = ranked and len(ranked) == keeper.save_top_k
    return dict(before) | {
        "dirpath": keeper.dirpath,
        "best_k_models": {path: kept[path] for path in ranked},
        "best_model_path": ranked[0] if ranked else "",
        "best_model_score": kept[ranked[0]] if ranked else None,
        "kth_best_model_path": ranked[-1] if ranked else "",
        "kth_value": kept[ranked[-1]] if full else torch.tensor(sign * math.inf),
        "last_model_path": "",
    }
