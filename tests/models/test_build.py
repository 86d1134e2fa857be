"""A model out of the parts that its config names."""

from __future__ import annotations

import pytest
from checkpoints import composed

from attnflow import AttnFlowError
from attnflow.models.build import build_model, with_references
from attnflow.spec import DataSpec
from attnflow.training.differences import differences
from attnflow.utils.validation import check_config

SPEC = DataSpec((1, 8, 8), 17)


def test_a_part_is_told_under_its_own_group_alone() -> None:
    config = composed("attention=imap")
    assert config["model"]["attention"] == config["attention"]
    told = with_references(config)
    assert told["attention"] == config["attention"]
    assert told["model"]["conv1x1"] == config["model"]["conv1x1"]
    for part in ("attention", "placement", "coupling", "prior"):
        assert told["model"][part] == f"${{{part}}}"
    assert told["coupling"]["net"] == "${coupling_net}"


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("attention=itrans", "attention"),
        ("attention=none", "attention"),
        ("attention.kernel_size=3", "attention.kernel_size"),
        ("placement.steps=last", "placement.steps"),
        ("coupling_net.hidden_channels=5", "coupling_net.hidden_channels"),
        ("coupling=additive", "coupling"),
        ("prior=gaussian", "prior"),
        ("model.steps=3", "model.steps"),
        ("model.attention=null", "model.attention"),
    ],
)
def test_a_difference_is_with_references(override, key) -> None:
    assert [each.key for each in differences(composed(), composed(override))] == [key]


def test_the_flow_holds_the_parts_that_its_config_names() -> None:
    config = composed("attention=imap", "attention.kernel_size=3", "placement=before_actnorm")
    step = build_model(config, SPEC).flow.levels[0].transforms.step_0
    assert next(name for name, _ in step.named_children()) == "attention_before_actnorm"
    assert any(p.shape[-1] == 3 for p in step.attention_before_actnorm.parameters())
    without = build_model(composed("model.attention=null"), SPEC)
    assert "IMap" not in repr(without.flow)


def test_grey_levels_that_are_not_the_images_are_refused() -> None:
    target = {"_target_": "attnflow.flows.TarFlow", "_partial_": True, "blocks": 1}
    config = {"dequantization": composed()["dequantization"]}
    build_model({**config, "model": {**target, "grey_levels": 17}}, SPEC)
    sentence = "model.grey_levels: expected 17, those of the images, or null, got 16."
    with pytest.raises(AttnFlowError, match=sentence):
        build_model({**config, "model": {**target, "grey_levels": 16}}, SPEC)


@pytest.mark.parametrize("group", ["attention", "coupling", "coupling_net", "prior", "model"])
def test_an_option_that_a_class_lacks_is_refused(group) -> None:
    config = composed(f"+{group}.wings=2")
    with pytest.raises(AttnFlowError, match=r"wings: expected an option of \w+ \(.*, got 2\.$"):
        check_config(config)
    with pytest.raises(AttnFlowError, match="unexpected keyword argument 'wings'"):
        build_model(config, SPEC)


def test_an_abstract_flow_is_refused() -> None:
    config = composed() | {"model": {"_target_": "attnflow.flows.Flow", "_partial_": True}}
    with pytest.raises(AttnFlowError, match=r"^model: expected a class .* the abstract Flow\.$"):
        build_model(config, SPEC)
