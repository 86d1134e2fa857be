"""Plain values: what a file may hold that is read back without running code."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from enum import Enum
from reprlib import repr as shortened
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import Tensor, nn

from attnflow.errors import AttnFlowError

__all__ = ["plain"]

# The types that torch.load(..., weights_only=True) reads back unchanged.
PLAIN = (bool, int, float, complex, str, bytes, type(None))
PLAIN_OF_TORCH = (Tensor, nn.Parameter, torch.Size, torch.dtype, torch.device)
# A subclass's value equals the plain one that it is saved as.
NUMBERS_AND_TEXT: tuple[type[Any], ...] = (int, float, complex, str, bytes)
COLLECTIONS = {list: list, tuple: tuple, set: set, frozenset: set}


def plain(value: Any, where: str) -> Any:
    """Return ``value`` as ``torch.load(..., weights_only=True)`` reads it back.

    What equals a plain value becomes that value: configs, NumPy's numbers, enums of strings or
    numbers, named tuples, subclasses of dict, list and tensor. A path becomes its string.

    Args:
        value: dicts, lists, tuples and sets of numbers, strings and tensors, to any depth.
        where: what the value is called in a sentence.

    Raises:
        AttnFlowError: something in it is no plain value and equals none.
    """
    if type(value) in (*PLAIN, *PLAIN_OF_TORCH):
        return value
    if isinstance(value, (DictConfig, ListConfig)):
        return plain(OmegaConf.to_container(value, resolve=True), where)
    if isinstance(value, np.generic):
        return plain(value.item(), where)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Tensor):
        return value.as_subclass(Tensor)
    if isinstance(value, Mapping):
        return _plain_dict(value, where)
    for base, kind in COLLECTIONS.items():
        if isinstance(value, base):
            return kind(plain(each, f"{where}[{i}]") for i, each in enumerate(value))
    for base in NUMBERS_AND_TEXT:
        if isinstance(value, base):
            return base(value.value if isinstance(value, Enum) else value)
    raise AttnFlowError(
        f"{where}: expected plain values, which a checkpoint is read back from (numbers, strings, "
        f"tensors, and dicts, lists, tuples and sets of them), got {shortened(value)} of type "
        f"{type(value).__module__}.{type(value).__qualname__}."
    )


def _plain_dict(value: Mapping, where: str) -> dict:
    items = {plain(k, f"a key of {where}"): plain(v, f"{where}[{k!r}]") for k, v in value.items()}
    if not isinstance(value, OrderedDict):
        return items
    ordered = OrderedDict(items)  # in whose attributes a module's state notes its version
    vars(ordered).update(_plain_dict(vars(value), where))
    return ordered
