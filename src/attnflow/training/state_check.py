"""Checks of the entries that a training needs to resume from a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from attnflow.errors import AttnFlowError
from attnflow.models.checkpoint import MODEL_PREFIX, check_same_architecture, model_state
from attnflow.models.contents import check_bounded, check_mapping, check_state, check_weights
from attnflow.models.trust import values_of
from attnflow.utils.sentences import named

__all__ = ["check_resumed_weights", "check_training_state"]

# The state that torch's optimizers keep for every weight.
MOMENTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "square_avg")
# The entries that Lightning writes beside the weights.
KINDS = {
    "loops": Mapping,
    "callbacks": Mapping,
    "optimizer_states": list,
    "lr_schedulers": list,
    "epoch": int,
    "pytorch-lightning_version": str,
}
# The loops' counters, which say how far a training has come.
COUNTERS = (
    ("epoch_loop.automatic_optimization.optim_progress", "optimizer", "step", "total", "completed"),
    ("epoch_progress", "current", "processed"),
    ("epoch_loop.batch_progress", "current", "ready"),
    ("epoch_loop.batch_progress", "is_last_batch"),
)


def check_training_state(checkpoint: Mapping, path: object) -> None:
    """Raise :class:`AttnFlowError` where an entry that a training resumes from has a wrong type.

    Args:
        checkpoint: as :func:`attnflow.models.checkpoint.read_checkpoint` gives it.
        path: of the checkpoint, for messages.
    """
    source = f"checkpoint {path}"
    for name, kind in KINDS.items():
        value = checkpoint.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise AttnFlowError(
                f"{source}: expected {name} to be a {kind.__name__.lower()}, got {value!r:.60}."
            )
        if isinstance(value, Mapping | list):
            check_bounded(value, f"{source}: {name}", 10_000 + 100 * len(checkpoint["state_dict"]))
    if not re.match(r"\d+\.\d+", checkpoint["pytorch-lightning_version"]):
        raise AttnFlowError(
            f"{source}: expected the number of a version as pytorch-lightning_version, got "
            f"{checkpoint['pytorch-lightning_version']!r:.60}."
        )
    check_loops(checkpoint["loops"], source)
    for name, value in checkpoint["callbacks"].items():
        check_mapping(value, path, f"the state of {name}")
    for value in checkpoint["lr_schedulers"]:
        check_mapping(value, path, "the state of a schedule")


def check_resumed_weights(checkpoint: Mapping, model: nn.Module, path: object) -> None:
    """Raise :class:`AttnFlowError` unless weights and moments are those of ``model``.

    The check loads the weights, as training does again when it begins.
    """
    check_all_weights(checkpoint, model, path)
    check_optimizer(checkpoint, model, f"checkpoint {path}")


def check_loops(loops: Mapping, source: str) -> None:
    """Raise :class:`AttnFlowError` unless the loops' counters are there, and are counts."""
    held = loops.get("fit_loop", {})
    for keys in COUNTERS:
        value = held
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if not isinstance(value, int):
            raise AttnFlowError(
                f"{source}: expected a count as loops.fit_loop.{'.'.join(keys)}, got {value!r:.60}."
            )
    for key, _, value in values_of(held):
        if not isinstance(value, Mapping) and not (isinstance(value, int) and value >= 0):
            raise AttnFlowError(
                f"{source}: expected a count as loops.fit_loop.{key}, got {value!r:.60}."
            )


def check_all_weights(checkpoint: Mapping, model: nn.Module, path: object) -> None:
    """Raise :class:`AttnFlowError` unless the weights, averaged and plain, fit ``model``."""
    states = [model_state(checkpoint)]
    if "current_model_state" in checkpoint or "averaging_state" in checkpoint:
        check_mapping(checkpoint.get("averaging_state"), path, "averaging_state")
        current = checkpoint.get("current_model_state")
        check_state(current, path)
        weights = cast(Mapping[str, Tensor], current).items()
        states.append({name.removeprefix(MODEL_PREFIX): value for name, value in weights})
    for state in states:
        check_same_architecture(model, state, path)
        check_weights(model.state_dict(), state, path)
        with named(f"checkpoint {path}"):
            model.load_state_dict(state)


def check_optimizer(checkpoint: Mapping, model: nn.Module, source: str) -> None:
    """Raise :class:`AttnFlowError` unless the one optimizer's state is that of these parameters."""
    parameters = list(model.parameters())
    states = checkpoint["optimizer_states"]
    held = states[0] if len(states) == 1 and isinstance(states[0], Mapping) else {}
    groups, moments = held.get("param_groups"), held.get("state")
    if (
        not isinstance(groups, list)
        or not all(isinstance(group, Mapping) for group in groups)
        or not isinstance(moments, Mapping)
    ):
        raise AttnFlowError(
            f"{source}: expected the state of one optimizer, got {len(states)} of "
            f"{sorted({type(state).__name__ for state in states})}."
        )
    if len(groups) > 1:  # of an optimizer that orders its parameters by itself
        return
    numbers = groups[0].get("params") if groups else None
    if numbers != list(range(len(parameters))):
        raise AttnFlowError(
            f"{source}: expected an optimizer of {len(parameters)} parameters, got one of "
            f"others ({numbers!r:.40})."
        )
    if "betas" in groups[0] and checkpoint["global_step"] > 0 and not moments:
        raise AttnFlowError(f"{source}: expected the optimizer's moments, got none.")
    for number, state in moments.items():
        if number not in numbers or not isinstance(state, Mapping):
            raise AttnFlowError(f"{source}: expected moments by parameter, got {number!r:.60}.")
        for name in (name for name in MOMENTS if state.get(name) is not None):
            place = f"{source}: optimizer_states.0.state.{number}.{name}"
            check_moment(state[name], parameters[number], place)


def check_moment(value: object, parameter: Tensor, place: str) -> None:
    """Raise :class:`AttnFlowError` unless ``value`` is a finite number for each weight."""
    shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    if (
        not isinstance(value, Tensor)
        or shape != tuple(parameter.shape)
        or not value.is_floating_point()
    ):
        raise AttnFlowError(
            f"{place}: expected numbers of shape {tuple(parameter.shape)}, got {shape}."
        )
    if not torch.isfinite(value).all():
        raise AttnFlowError(f"{place}: expected finite numbers.")
