"""An option that would change nothing is refused."""

from __future__ import annotations

import pytest
from conftest import run_script
from refusals import refused

from attnflow.cli.unread import groups_read
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


def test_parts_are_read_through_others() -> None:
    config = {"model": {"a": ["${coupling}"]}, "coupling": {"net": "${coupling_net}"}}
    config |= {"map": {"x": "${prior}"}, "conditioning": None}
    read = {"model", "coupling", "coupling_net", "dequantization", "conditioning"}
    assert groups_read(config) == read
    assert read < set(MODEL_GROUPS)
