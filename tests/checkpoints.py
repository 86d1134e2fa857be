"""Checkpoints made without a training, and changed as a stranger could."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path

import torch
from conftest import ROOT
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from attnflow.models.build import build_data, build_model
from attnflow.models.checkpoint import KEY, describe
from attnflow.models.groups import MODEL_GROUPS

# The smallest model.
TINY = ["model.levels=1", "model.steps=1", "coupling=affine", "coupling_net.hidden_channels=4"]


@cache
def composed(*overrides: str) -> dict:
    """The config of train.py, of the groups that a checkpoint is rebuilt from, in plain values."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", overrides=[*TINY, *overrides], return_hydra_config=True)
    groups = OmegaConf.masked_copy(config, [*MODEL_GROUPS, "data", "seed", "trainer"])
    del groups.trainer
    groups.data.pop("data_dir", None)
    choices = OmegaConf.to_container(config.hydra.runtime.choices)
    return OmegaConf.to_container(groups, resolve=True) | {"choices": choices}


def checkpoint(path: Path, *overrides: str, change: Callable[[dict], None] | None = None) -> Path:
    """Write a checkpoint of random weights for these options; ``change`` edits what it holds."""
    config = deepcopy(composed(*overrides))
    spec = build_data(config["data"]).spec
    model = build_model(config, spec)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model.flow.initialized.fill_(True)
    held = {
        "state_dict": {f"model.{name}": value for name, value in model.state_dict().items()},
        KEY: describe(config, spec),
        "global_step": 3,
    }
    if change is not None:
        change(held)
    torch.save(held, path)
    return path


def put(held: dict, place: str, value: object) -> None:
    """Set an entry of a checkpoint's config by its dotted key, in the model's part too."""
    config = held[KEY]["config"]
    for root in (config, config["model"]) if place.split(".")[0] in config["model"] else (config,):
        *parents, last = place.split(".")
        for parent in parents:
            root = root[parent]
        root[last] = value
