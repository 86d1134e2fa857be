"""Plain values: what is saved can be read back, and equals what it was."""

from __future__ import annotations

import datetime
import io
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from enum import Enum, IntEnum
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from attnflow.errors import AttnFlowError
from attnflow.utils.plain import plain


class Colour(str, Enum):
    RED = "red"


class Level(IntEnum):
    TOP = 3


class Image(Tensor):
    pass


Point = namedtuple("Point", "x y")


def read_back(value: object) -> object:
    content = io.BytesIO()
    torch.save(value, content)
    content.seek(0)
    return torch.load(content, weights_only=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (OmegaConf.create([0.9, 0.99]), [0.9, 0.99]),
        (OmegaConf.create({"a": 2, "b": ["${a}", {"c": None}]}), {"a": 2, "b": [2, {"c": None}]}),
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (Path("runs") / "last.ckpt", "runs/last.ckpt"),
        (Colour.RED, "red"),
        (Level.TOP, 3),
        (Point(1, np.int8(2)), (1, 2)),
        (defaultdict(list, {"a": [1]}), {"a": [1]}),
        (Counter("aab"), {"a": 2, "b": 1}),
        (MappingProxyType({Colour.RED: 1}), {"red": 1}),
        (OrderedDict({Colour.RED: np.int64(1)}), OrderedDict({"red": 1})),
        (frozenset({1, 2}), {1, 2}),
        ((True, None, 1j, b"x", 10**30), (True, None, 1j, b"x", 10**30)),
        ((torch.Size([2, 3]), torch.float16, torch.device("cpu")),) * 2,
    ],
)
def test_what_equals_a_plain_value_is_saved_as_it(value, expected) -> None:
    made = read_back(plain({"held": [value]}, "state"))["held"][0]
    assert made == expected
    assert type(made) is type(expected)


def test_tensors_stay_what_they_are() -> None:
    image = torch.arange(3.0).as_subclass(Image)
    made = read_back(plain({"image": image, "weight": nn.Parameter(torch.ones(2))}, "state"))
    assert type(made["image"]) is Tensor
    assert made["image"].tolist() == [0, 1, 2]
    assert type(made["weight"]) is nn.Parameter


def test_a_modules_state_keeps_its_version() -> None:
    state = nn.BatchNorm2d(2).state_dict()
    assert read_back(plain(state, "state"))._metadata == state._metadata


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (np.zeros(2), "numpy.ndarray"),
        (deque([1]), "collections.deque"),
        (datetime.timedelta(1), "datetime.timedelta"),
        (len, "builtins.builtin_function_or_method"),
        (nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        (np.datetime64("2026-01-01"), "datetime.date"),
    ],
)
def test_what_could_not_be_read_back_is_refused_by_name(value, named) -> None:
    with pytest.raises(AttnFlowError, match=rf"state\['a'\]\[1\]: expected .* of type {named}\."):
        plain({"a": [0, value]}, "state")
    with pytest.raises(AttnFlowError, match="a key of state"):
        plain({len: 1}, "state")
