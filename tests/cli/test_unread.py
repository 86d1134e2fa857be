"""An option that would change nothing is refused."""

from __future__ import annotations

import pytest
from conftest import run_script
from refusals import refused

from attnflow.cli.unread import check_added, groups_read
from attnflow.errors import AttnFlowError
from attnflow.models.groups import MODEL_GROUPS


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["model=tarflow", "coupling=affine"], "coupling=affine: expected an option of a part"),
        (["model=tarflow", "coupling_net.dropout=0.1"], "that model=tarflow has (model, "),
        (["solver=jacobi"], "got one of solver."),
        (["model=jet", "prior=mar"], "prior=mar: expected an option of a part that model=jet"),
        (["model=jet", "++map.num_components=3"], "++map.num_components=3: expected an option"),
    ],
)
def test_an_option_of_a_part_that_the_model_lacks(options, sentence, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "run"
    told = refused(run_script, monkeypatch, "train", *options, f"hydra.run.dir={folder}")
    assert sentence in told
    assert not (folder / "checkpoints").exists()


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("train", "+seeed=1"),
        ("train", "++learning.rate=0.1"),
        ("eval", "+n=5"),
        ("report", "+folders=logs"),
    ],
)
def test_an_option_that_nobody_reads(command, option, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = refused(run_script, monkeypatch, command, option)
    assert f"{option}: expected an option of attnflow {command}" in told


def test_added_options_that_others_refer_to_are_read() -> None:
    config = {"width": 8, "coupling_net": {"hidden_channels": "${width}"}}
    options = ["+width=8", "+trainer.fast_dev_run=true", "+mine=small", "+against@x/y=z", "seed=3"]
    check_added(config, options, ["mine", "against@x", "trainer"], "train")
    with pytest.raises(AttnFlowError, match=r"one that another refers to by \${depth}"):
        check_added(config, ["+depth=8"], [], "train")


def test_parts_are_read_through_others() -> None:
    config = {"model": {"a": ["${coupling}"]}, "coupling": {"net": "${coupling_net}"}}
    config |= {"map": {"x": "${prior}"}, "conditioning": None}
    read = {"model", "coupling", "coupling_net", "dequantization", "conditioning"}
    assert groups_read(config) == read
    assert read < set(MODEL_GROUPS)
