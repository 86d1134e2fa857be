"""The data sets and flows of the benchmarks: options of train.py, most in recipes by name.

A data set is the same for every model that is trained on it, its augmentation too, whatever a
model's own recipe says of data; of a recipe, its flow and how that is trained are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from loop import Data, Recipe
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from attnflow.data.augmentation import Augmented
from attnflow.data.base import SPLITS, ImageDataModule
from attnflow.models.build import build_model
from attnflow.models.groups import MODEL_GROUPS
from attnflow.models.image_model import ImageModel
from attnflow.utils.noise import sample_keys, uniform_noise

__all__ = ["DATA", "FLOWS", "TARFLOW", "compose_config", "load_data", "make_ours", "our_bits"]

ROOT = Path(__file__).parents[1]
FLIPS = "{_target_: torchvision.transforms.v2.RandomHorizontalFlip}"
COLOURS = "{_target_: torchvision.transforms.v2.RandomChannelPermutation}"
# The options of each data set.
DATA = {
    "digits": ["data=digits"],
    "mnist5k": ["data=mnist5k", "data.padding=0"],
    # One photograph trains, whose colours are not those of the other.
    "photos": ["data=photos", f"data.augment=[{FLIPS}, {COLOURS}]"],
    "natural16": ["data=natural16", f"data.augment=[{FLIPS}]"],
    "natural32": ["data=natural32", f"data.augment=[{FLIPS}]"],
    "longrange": ["data=longrange"],
}
JET = ["model=jet", "optimizer.lr=2e-3"]
TARFLOW = ["model=tarflow", "map.largest_log_scale=5", "optimizer.lr=3e-3"]
# The options of each kind of flow on each data set; attention comes on top.
FLOWS = {
    "glow": {
        "digits": ["experiment=digits"],
        "mnist5k": ["experiment=digits"],
        "photos": ["experiment=photos"],
        "natural16": ["experiment=photos"],
        "natural32": ["experiment=photos"],
        "longrange": [
            "model.levels=1",
            "coupling_net=convnet",
            "coupling_net.hidden_channels=32",
            "optimizer.lr=5e-3",
            "optimizer.weight_decay=0",
        ],
    },
    "jet": dict.fromkeys(DATA, JET),
    "tarflow": {
        "digits": ["experiment=digits_tarflow"],
        "mnist5k": ["experiment=mnist5k"],
        "photos": ["experiment=natural16"],
        "natural16": ["experiment=natural16"],
        "natural32": ["experiment=natural32"],
        "longrange": ["experiment=longrange"],
    },
}


def compose_config(options: Sequence[str]) -> DictConfig:
    """The config that train.py would have with these options."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", [f"paths.root_dir={ROOT}", *options])


def load_data(name: str, options: Sequence[str] = ()) -> Data:
    """A data set of :data:`DATA`, read whole, with further options of it."""
    module = instantiate(compose_config([*DATA[name], *options]).data)
    images = {split: all_images(module, split) for split in SPLITS}
    augmented = Augmented(module.dataset("train"), module.augment) if module.augment else None
    return Data(**images, spec=module.spec, augmented=augmented, entropy=module.entropy)


def all_images(module: ImageDataModule, split: str) -> Tensor:
    """The images of a split: (N, C, H, W)."""
    rows = module.dataset(split)
    return rows.__getitems__(range(len(rows)))["image"]


def make_ours(options: Sequence[str], data: Data) -> tuple[ImageModel, Recipe]:
    """The model that train.py would make with these options, initialised, and its training."""
    config = compose_config(options)
    # Each group by itself: other parts of the config are resolved by train.py alone.
    groups = {
        group: OmegaConf.to_container(config[group], resolve=True)
        for group in MODEL_GROUPS
        if config.get(group) is not None
    }
    model = build_model(groups, data.spec)
    images = data.train[:512]
    noise = uniform_noise(sample_keys(0, -1, torch.arange(len(images))), tuple(images.shape[1:]))
    model.initialize({"image": images}, noise)
    recipe = Recipe(
        learning_rate=config.optimizer.lr,
        weight_decay=config.optimizer.get("weight_decay", 0.0),
        batch_size=config.data.global_batch_size,
        ema_decay=config.callbacks.ema.decay,
        warmup_steps=config.scheduler.warmup_steps or Recipe.warmup_steps,
    )
    return model, recipe


def our_bits(model: nn.Module, images: Tensor, rows: Tensor, epoch: int) -> Tensor:
    """Bits/dim of a model of ours."""
    noise = uniform_noise(sample_keys(0, epoch, rows), tuple(images.shape[1:]))
    return model({"image": images}, noise)
