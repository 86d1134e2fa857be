"""Models assembled from the files of conf/, small enough to be looked at whole."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from conftest import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from attnflow.models.build import build_model
from attnflow.models.groups import MODEL_GROUPS
from attnflow.models.image_model import Batch, ImageModel
from attnflow.spec import DataSpec

# Widths that cost nothing, by group.
SMALL = {
    "model": {"steps": 1, "blocks": 1},
    "coupling": {"num_components": 2},
    "coupling_net": {"hidden_channels": 4, "width": 4, "num_heads": 2},
    "map": {"num_components": 2},
    "causal_net": {"width": 4, "num_heads": 2},
    "prior": {"hidden_channels": 4},
    "dequantization": {"hidden_channels": 4, "steps": 1},
    "conditioning": {"context_channels": 3},
}


@cache
def composed(*overrides: str) -> DictConfig:
    """The config of train.py, as its files say it; do not write to it."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", [*overrides, "paths.root_dir=.", "paths.output_dir=."])


def names(group: str) -> list[str]:
    """The files of a config group."""
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


def assemble(
    spec: DataSpec, choices: Mapping[str, str], options: Mapping[str, Mapping[str, object]]
) -> ImageModel:
    """A small model of these files of the config groups, with these options of each changed."""
    config = OmegaConf.create({group: composed()[group] for group in MODEL_GROUPS})
    for group, name in choices.items():
        config[group] = composed(f"{group}={name}")[group]
    for changes in (SMALL, options):
        for group, values in changes.items():
            for key in values.keys() & (config[group] or {}).keys():
                config[group][key] = values[key]
    return build_model(OmegaConf.to_container(config, resolve=True), spec)


def data_spec(shape: tuple[int, int, int]) -> DataSpec:
    """Images of five grey values, of three classes, each with a condition image."""
    condition_shape = (2, *shape[1:])
    return DataSpec(shape, 5, num_classes=3, condition_shape=condition_shape, condition_bins=4)


def random_batch(spec: DataSpec, size: int = 2) -> Batch:
    """Random images with everything that a model may be conditioned on."""
    return {
        "image": torch.randint(spec.num_bins, (size, *spec.image_shape)),
        "index": torch.arange(size),
        "label": torch.randint(spec.num_classes, (size,)),
        "condition": torch.randint(spec.condition_bins, (size, *spec.condition_shape)),
    }
