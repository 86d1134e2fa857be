"""Checks of a checkpoint's entries, before any of them is used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from attnflow.errors import AttnFlowError
from attnflow.models.trust import MOST_VALUES, stands_for_another, values_of
from attnflow.spec import DataSpec
from attnflow.utils.arguments import check_seed

__all__ = ["check_bounded", "check_description", "check_mapping", "check_state", "check_weights"]

# The types of weights, between which loading converts.
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

# Deeper than any config; Python's own functions fail at some hundreds.
MOST_DEPTH = 50
# A config group, as in Hydra: its folder, its subfolder, and the part that it is put into.
GROUP = re.compile(r"[A-Za-z]\w*(/\w+)*(@[\w.]+)?")
# Names of figures in results.json, which no choice of a config group may take.
FIGURES = re.compile(
    r"(train|val|test)/.*|params|images_per_second|wall_seconds|epochs|steps|seed|legs"
)


def check_description(held: Any, name: str, path: object) -> None:
    """Raise :class:`AttnFlowError` unless the entry ``name`` can describe a run."""
    check_mapping(held, path, name)
    check_plain_values(held, f"checkpoint {path}: {name}")
    config = held.get("config")
    check_mapping(config, path, "config")
    check_mapping(held.get("data_spec"), path, "data_spec")
    check_mapping(config.get("data"), path, "config.data")
    check_choices(config.get("choices"), path)
    check_seed(config.get("seed"))
    check_splits(held.get("splits"), path)
    for key in ("wandb_id", "wandb_name", "wandb_group"):
        text = held.get(key)
        if not isinstance(text, str | type(None)) or stands_for_another(text):
            raise AttnFlowError(f"checkpoint {path}: expected a text as {key}, got {text!r:.60}.")
    images = held.get("train_images", 1)
    if type(images) is not int or images < 1:
        raise AttnFlowError(
            f"checkpoint {path}: expected a number of images as train_images, got {images!r:.60}."
        )
    try:
        DataSpec.from_dict(held["data_spec"])
    except AttnFlowError as error:
        raise AttnFlowError(f"checkpoint {path}: {error}") from error


def check_mapping(value: object, path: object, name: str) -> None:
    """Raise :class:`AttnFlowError` unless ``value`` is a mapping."""
    if not isinstance(value, Mapping):
        raise AttnFlowError(
            f"checkpoint {path}: expected a mapping as {name}, got {type(value).__name__}."
        )


def check_splits(splits: Any, path: object) -> None:
    """Raise :class:`AttnFlowError` unless this tells, of each split, a number of images and a mark.

    Checkpoints of earlier versions tell nothing.
    """
    if splits is None:
        return
    check_mapping(splits, path, "splits")
    for split, told in splits.items():
        is_told = isinstance(told, Mapping) and told.keys() == {"images", "mark"}
        if not (
            is_told and type(told["images"]) is int and isinstance(told["mark"], str | type(None))
        ):
            raise AttnFlowError(
                f"checkpoint {path}: expected a number of images and a mark as splits.{split}, got "
                f"{told!r:.60}."
            )


def check_choices(choices: Any, path: object) -> None:
    """Raise :class:`AttnFlowError` unless these are names of configs, by config group."""
    check_mapping(choices, path, "config.choices")
    for group, choice in choices.items():
        place = f"checkpoint {path}: config.choices"
        if not isinstance(group, str) or not GROUP.fullmatch(group) or FIGURES.fullmatch(group):
            raise AttnFlowError(f"{place}: expected the name of a config group, got {group!r:.60}.")
        is_name = isinstance(choice, str) and choice.isprintable() and "${" not in choice
        if choice is not None and not is_name:
            raise AttnFlowError(
                f"{place}.{group}: expected the name of a config, got {choice!r:.60}."
            )


def check_bounded(held: Mapping | list, place: str, most: int = MOST_VALUES) -> None:
    """Raise :class:`AttnFlowError` for more values, or deeper ones, than any training writes.

    Lists that hold themselves, or one another many times over, are caught too.
    """
    for count, (key, _, _) in enumerate(values_of(held)):
        if count == most or key.count(".") > MOST_DEPTH:
            raise AttnFlowError(
                f"{place}: expected at most {most} values in {MOST_DEPTH} levels, got more."
            )


def check_plain_values(held: Mapping, place: str) -> None:
    """Raise :class:`AttnFlowError` unless all is made of texts, numbers, lists and mappings."""
    check_bounded(held, place)
    for key, name, value in values_of(held):
        if not isinstance(name, int):  # the place in a list
            check_name(name, place)
        if not isinstance(value, str | int | float | Mapping | list | type(None)):
            raise AttnFlowError(
                f"{place}.{key}: expected a plain value, got {type(value).__name__}."
            )
        if isinstance(value, int) and abs(value) >= 2**63:
            raise AttnFlowError(f"{place}.{key}: expected a number below 2**63, got more.")


def check_name(name: object, place: str) -> None:
    """Raise :class:`AttnFlowError` unless this is a name, printable on one line."""
    if not isinstance(name, str) or not name.isprintable():
        raise AttnFlowError(f"{place}: expected a printable text as name, got {name!r:.60}.")


def check_state(state: Any, path: object) -> None:
    """Raise :class:`AttnFlowError` unless ``state`` is made of whole, dense tensors by name."""
    check_mapping(state, path, "state_dict")
    for name, value in state.items():
        check_name(name, f"checkpoint {path}")
        if not is_dense(value):
            raise AttnFlowError(
                f"checkpoint {path}: expected a dense tensor as {name}, got {type(value).__name__}."
            )
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise AttnFlowError(
                f"checkpoint {path}: expected {value.numel()} values of {name}, got fewer."
            )


def is_dense(value: object) -> bool:
    """Whether ``value`` is a dense tensor on the CPU, not quantized."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def check_weights(own: Mapping[str, Tensor], given: Mapping[str, Tensor], path: object) -> None:
    """Raise :class:`AttnFlowError` for weights of another type than a model's, or not finite.

    Args:
        own: the model's.
        given: by the same names, and of the same shapes.
        path: of their file, for the message.
    """
    for name, value in given.items():
        expected = own[name].dtype
        if value.dtype != expected and not {value.dtype, expected} <= set(FLOATS):
            raise AttnFlowError(
                f"checkpoint {path}: expected {expected} as {name}, got {value.dtype}."
            )
        if not value.to(expected).isfinite().all():
            raise AttnFlowError(
                f"checkpoint {path}: expected finite weights, got {name}, which is not finite."
            )
