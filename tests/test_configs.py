"""Every option in conf/ composes; those that need no download train."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import ROOT, SHORT, results
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from attnflow.cli.train import make_trainer
from attnflow.models.build import MODEL_GROUPS, build_model
from attnflow.utils.arguments import check_config_types

CONF = ROOT / "conf"
# Options that another test covers, or that need a device this machine may lack.
ELSEWHERE = {"logger=wandb", "trainer=gpu", "trainer=ddp", "trainer=ddp_cpu"}
TRAINABLE_GROUPS = (
    "attention",
    "placement",
    "coupling",
    "coupling_net",
    "prior",
    "dequantization",
    "optimizer",
    "scheduler",
    "trainer",
    "logger",
)


def options(*groups: str) -> list[str]:
    """``group=option`` for every YAML of the groups."""
    return [
        f"{group}={path.stem}" for group in groups for path in sorted((CONF / group).glob("*.yaml"))
    ]


@pytest.mark.parametrize("option", sorted(set(options(*TRAINABLE_GROUPS)) - ELSEWHERE))
def test_option_trains(train, option) -> None:
    figures = results(train("debug=fast", option, "trainer.accelerator=cpu"))
    assert math.isfinite(figures["test/bpd"])
    group, choice = option.split("=")
    assert figures[group] == choice


@pytest.mark.parametrize("option", options(*(p.name for p in CONF.iterdir() if p.is_dir())))
def test_option_composes_and_says_when_to_use_it(option) -> None:
    group, choice = option.split("=")
    text = (CONF / group / f"{choice}.yaml").read_text().splitlines()
    assert [line for line in text if line.startswith("# ") and "@package" not in line]
    prefix = "+" if group == "hydra" else ""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [] if prefix else [option])
    assert OmegaConf.to_container(config.placement)
    check_config_types(OmegaConf.to_container(config))  # no option of ours is refused


@pytest.mark.parametrize("option", options("data"))
def test_data_module_knows_its_images_before_any_download(option) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [option, "paths.root_dir=/nowhere", "paths.output_dir=/nowhere"])
    if option == "data=class_folder":  # which counts the classes, unless it is told their number
        config.data.num_classes = 2
    spec = instantiate(config.data).spec
    assert len(spec.image_shape) == 3
    assert spec.num_bins >= 2


@pytest.mark.parametrize("option", options("data"))
def test_the_seed_reaches_the_data(option) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [option, "seed=5"])
    assert config.data.seed == 5


@pytest.mark.parametrize("recipe", options("experiment"))
def test_recipe_builds_its_model(recipe) -> None:
    """The whole model, at its full size, gives the bits/dim of an image of its data set."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [recipe, "paths.root_dir=/nowhere", "paths.output_dir=/nowhere"])
    data = instantiate(config.data)
    plain = OmegaConf.to_container(OmegaConf.masked_copy(config, MODEL_GROUPS), resolve=True)
    model = build_model(plain, data.spec).eval()
    batch = {
        "image": torch.randint(data.spec.num_bins, (1, *data.spec.image_shape)),
        "label": torch.tensor([1]),
        "condition": torch.zeros(1, *(data.spec.condition_shape or (1, 1, 1))),
    }
    with torch.no_grad():
        bits = model(batch, torch.rand(batch["image"].shape))
    assert torch.isfinite(bits).all()


def test_placements_of_a_list(train) -> None:
    run_dir = train(
        "debug=fast",
        "placement.positions=[after_actnorm,after_coupling]",
        "placement.levels=[1]",
        "placement.steps=every 2",
    )
    assert math.isfinite(results(run_dir)["test/bpd"])


def test_short_training_arguments_exist() -> None:
    """The overrides that tests share are keys of the config."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert compose("train", [o for o in SHORT if "=" in o]).model.steps == 2


@pytest.mark.parametrize("bar", [True, False])
def test_progress_bar_is_left_out_by_its_entry(bar) -> None:
    """Lightning adds none of its own."""
    options = ["trainer=cpu", "paths.root_dir=/nowhere", "paths.output_dir=/nowhere"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", options + ([] if bar else ["callbacks.progress=null"]))
    assert (make_trainer(config, loggers=[]).progress_bar_callback is not None) == bar
