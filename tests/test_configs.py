"""Every option in conf/ composes; those that need no download train."""

from __future__ import annotations

import math
from itertools import cycle, islice

import pytest
import torch
from conftest import ROOT, SHORT, results
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from attnflow.cli.train import make_trainer
from attnflow.models.build import build_model
from attnflow.models.groups import MODEL_GROUPS
from attnflow.models.image_model import ImageModel
from attnflow.runs.results import measured
from attnflow.spec import DataSpec
from attnflow.transforms import IMap, ITrans
from attnflow.utils.validation import check_config

CONF = ROOT / "conf"
# Options that another test covers, or that need a device this machine may lack.
ELSEWHERE = {"logger=wandb", "logger=mlflow", "trainer=gpu", "trainer=ddp", "trainer=ddp_cpu"}
# The transformer-based attention that suits each recipe.
ITRANS = {
    "cifar10_affine": "itrans_patches",
    "cifar10_class": "itrans_patches",
    "cifar10_mixlogcdf256": "itrans_patches",
    "cifar10_mixlogcdf96": "itrans_patches",
    "cityscapes_label2photo": "itrans_linear",
    "cityscapes_photo2label": "itrans_linear",
    "digits": "itrans",
    "digits_class": "itrans",
    "digits_inpaint": "itrans",
    "digits_tarflow": "itrans",
    "imagenet32": "itrans_patches",
    "imagenet64": "itrans_patches",
    "imagenet64_jet": "itrans_linear",
    "imagenet64_tarflow": "itrans_linear",
    "longrange": "itrans",
    "maps": "itrans_linear",
    "mnist": "itrans_patches",
    "mnist5k": "itrans",
    "mnist5k_class": "itrans",
    "natural16": "itrans",
    "natural32": "itrans",
    "photos": "itrans",
    "photos_colorize": "itrans",
    "photos_tarflow": "itrans",
}
# What is trained with each kind of flow, each option at least once; attentions take turns beside
# the parts that only Jet or TarFlow have.
TRAINED = {
    "glow": (
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
    ),
    "jet": ("coupling",),
    "tarflow": ("map", "causal_net", "solver"),
}
OF_TARFLOW = ["placement=after_transformer", "placement=before_transformer"]


def options(*groups: str) -> list[str]:
    """``group=option`` for every YAML of the groups."""
    return [
        f"{group}={path.stem}" for group in groups for path in sorted((CONF / group).glob("*.yaml"))
    ]


def together() -> list[list[str]]:
    """Every trainable option at least once, one of each group at a time."""
    rows = []
    for flow, names in TRAINED.items():
        groups = [
            [o for o in options(name) if o not in {*ELSEWHERE, *OF_TARFLOW}] for name in names
        ]
        attentions = cycle([] if "attention" in names else options("attention"))
        for row in range(max(map(len, groups))):
            chosen = [group[row % len(group)] for group in groups]
            rows.append([*chosen, f"model={flow}", *islice(attentions, 1)])
    return rows + [[placement, "model=tarflow", "attention=imap"] for placement in OF_TARFLOW]


@pytest.mark.parametrize("chosen", together(), ids=lambda chosen: chosen[0])
def test_options_train(train, chosen) -> None:
    figures = results(train("debug=fast", *chosen, "trainer.accelerator=cpu"))
    assert math.isfinite(figures[measured(figures, "test") or "test/bpd"])
    assert {option: figures[option.split("=")[0]] for option in chosen} == {
        option: option.split("=")[1] for option in chosen
    }


GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir())
# What a test above trains, or one below composes.
COMPOSED = {option for row in together() for option in row}
COMPOSED |= set(options("data", "experiment"))


@pytest.mark.parametrize("option", options(*GROUPS))
def test_option_says_when_to_use_it(option) -> None:
    group, choice = option.split("=")
    text = (CONF / group / f"{choice}.yaml").read_text().splitlines()
    assert [line for line in text if line.startswith("# ") and "@package" not in line]


@pytest.mark.parametrize("option", [o for o in options(*GROUPS) if o not in COMPOSED])
def test_option_composes(option) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [] if option.startswith("hydra=") else [option])
    check_config(OmegaConf.to_container(config))  # no option of ours is refused


@pytest.mark.parametrize("option", options("data"))
def test_data_module_knows_its_seed_and_its_images_before_any_download(option) -> None:
    nowhere = ["paths.root_dir=/nowhere", "paths.output_dir=/nowhere"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [option, "seed=5", *nowhere])
    check_config(OmegaConf.to_container(config))
    assert config.data.seed == 5
    if option == "data=class_folder":  # which counts the classes, unless it is told their number
        config.data.num_classes = 2
    spec = instantiate(config.data).spec
    assert len(spec.image_shape) == 3
    assert spec.num_bins >= 2


def recipe_config(recipe: str, attention: str) -> DictConfig:
    """A recipe's config with an attention beside it, away from any file."""
    options = [f"experiment={recipe}", f"attention={attention}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", [*options, "paths.root_dir=/nowhere", "paths.output_dir=/nowhere"])


def recipe_model(config: DictConfig, spec: DataSpec) -> ImageModel:
    """A recipe's whole model, at its full size."""
    plain = OmegaConf.to_container(OmegaConf.masked_copy(config, MODEL_GROUPS), resolve=True)
    return build_model(plain, spec).eval()


@pytest.mark.parametrize("recipe", sorted(ITRANS))
def test_recipe_takes_each_attention(recipe) -> None:
    """The attention is an option beside a recipe: it changes nothing else, and fits its flow."""
    others = []
    for attention in ("none", "imap", ITRANS[recipe]):
        config = recipe_config(recipe, attention)
        spec = instantiate(config.data).spec
        with torch.device("meta"):  # some are too large to be made here
            model = recipe_model(config, spec)
        kinds = {type(module) for module in model.modules()} & {IMap, ITrans}
        assert kinds == {"none": set(), "imap": {IMap}}.get(attention, {ITrans})
        others.append(OmegaConf.to_container(config))
        check_config(others[-1])
        others[-1].pop("attention")
    assert others[0] == others[1] == others[2]


def test_every_recipe_is_among_those_that_are_tested() -> None:
    assert sorted(ITRANS) == sorted(path.stem for path in (CONF / "experiment").glob("*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "attention"),
    [
        ("cifar10_class", "none"),
        ("cifar10_mixlogcdf96", "imap"),
        ("cityscapes_label2photo", "itrans_linear"),
        ("digits_inpaint", "itrans"),
        ("imagenet64", "itrans_patches"),
        ("maps", "imap"),
        ("photos_colorize", "itrans"),
    ],
)
def test_recipe_gives_the_bits_of_an_image(recipe, attention) -> None:
    """The whole model, at its full size, gives the bits/dim of an image of its data set."""
    config = recipe_config(recipe, attention)
    spec = instantiate(config.data).spec
    model = recipe_model(config, spec)
    batch = {
        "image": torch.randint(spec.num_bins, (1, *spec.image_shape)),
        "label": torch.tensor([1]),
        "condition": torch.zeros(1, *(spec.condition_shape or (1, 1, 1))),
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
        assert compose("train", [o for o in SHORT if "=" in o]).model.steps == 1


@pytest.mark.parametrize("bar", [True, False])
def test_progress_bar_is_left_out_by_its_entry(bar) -> None:
    """Lightning adds none of its own."""
    options = ["trainer=cpu", "paths.root_dir=/nowhere", "paths.output_dir=/nowhere"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", options + ([] if bar else ["callbacks.progress=null"]))
    assert (make_trainer(config, loggers=[]).progress_bar_callback is not None) == bar
