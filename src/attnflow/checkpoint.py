"""Checkpoints that are enough alone: the model is rebuilt from what the file holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from attnflow.assembly import build_model
from attnflow.data.base import DataSpec
from attnflow.errors import AttnFlowError
from attnflow.flow import Flow
from attnflow.image_model import ImageModel

__all__ = [
    "check_same_architecture",
    "describe",
    "is_averaged",
    "load",
    "load_model",
    "read_checkpoint",
]

# Under this key a checkpoint holds its config, its data's spec and the version; under the
# second prefix, the LightningModule's state_dict holds the model.
KEY = "attnflow"
MODEL_PREFIX = "model."


def load(path: str | Path) -> Flow:
    """The flow of a checkpoint, in eval mode, with its averaged (EMA) weights if it has them.

    Args:
        path: a checkpoint file that training wrote.

    Raises:
        AttnFlowError: the file is missing, truncated, or not one of ours.
    """
    return load_model(read_checkpoint(path), path).flow


def load_model(checkpoint: Mapping, path: str | Path) -> ImageModel:
    """The whole model of a checkpoint (flow, dequantizer, conditioning), in eval mode."""
    held = checkpoint[KEY]
    model = build_model(held["config"], DataSpec.from_dict(held["data_spec"]))
    state = model_state(checkpoint)
    check_same_architecture(model, state, path)
    model.load_state_dict(state)
    return model.eval()


def model_state(checkpoint: Mapping) -> dict[str, Tensor]:
    """The model's weights: the averaged ones, where training averaged them.

    Lightning's weight averaging writes the average as ``state_dict`` and keeps the weights
    that training goes on from under another key.
    """
    return {
        name.removeprefix(MODEL_PREFIX): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(MODEL_PREFIX)
    }


def is_averaged(checkpoint: Mapping) -> bool:
    """Whether :func:`model_state` is the averaged (EMA) weights; else it is the plain ones."""
    return "averaging_state" in checkpoint


def read_checkpoint(path: str | Path) -> dict:
    """A checkpoint's contents, on the CPU; no code in the file is run.

    Raises:
        AttnFlowError: the file is missing, truncated, or not one of ours.
    """
    path = Path(path)
    if not path.is_file():
        state = "is a folder" if path.is_dir() else "does not exist"
        raise AttnFlowError(f"checkpoint {path} {state}; the path of a .ckpt file is accepted.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of what is no checkpoint, its reader can raise anything
        # The first sentence: torch goes on to advise reading it unsafely.
        reason = str(error).strip().split("\n")[0].split(". ")[0] or type(error).__name__
        raise AttnFlowError(
            f"checkpoint {path} cannot be read ({reason}); it is truncated, damaged or not a "
            "checkpoint."
        ) from error
    if not isinstance(checkpoint, dict) or KEY not in checkpoint or "state_dict" not in checkpoint:
        raise AttnFlowError(
            f"checkpoint {path} was not written by attnflow (it has no {KEY!r} entry); "
            "a checkpoint of train.py is accepted."
        )
    return checkpoint


def describe(config: Mapping, spec: DataSpec) -> dict[str, object]:
    """What training adds to a checkpoint, in plain values, so that it is enough alone.

    The whole config is kept: a model is rebuilt from the groups of its architecture and of its
    data, and a resumed training says what else has changed.
    """
    from attnflow.version import __version__

    return {"config": dict(config), "data_spec": spec.as_dict(), "version": __version__}


def check_same_architecture(model: nn.Module, state: Mapping[str, Tensor], path: object) -> None:
    """Raise :class:`AttnFlowError`, naming the first misfit, where ``state`` is not ``model``'s."""
    own = model.state_dict()
    for name in sorted(own.keys() | state.keys()):
        ours = tuple(own[name].shape) if name in own else "absent"
        theirs = tuple(state[name].shape) if name in state else "absent"
        if ours != theirs:
            raise AttnFlowError(
                f"checkpoint {path} is of another architecture: {name} is {theirs} in the "
                f"checkpoint and {ours} in this model; the config of the checkpoint's run is "
                "accepted."
            )
