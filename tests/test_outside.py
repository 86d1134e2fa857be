"""What a user adds from outside of the package: one class and one YAML, and no edit elsewhere."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import QUICK, results
from exactness import randomise
from flow_kinds import assert_close, gradients
from one_level import OneLevel

import attnflow
from attnflow import AttnFlowError
from attnflow.flows.compilation import compile_flow
from attnflow.transforms import IMap

ONE_LEVEL = """\
_target_: one_level.OneLevel
_partial_: true
attention: ${attention}
placement: ${placement}
steps: 1
hidden_channels: 8
memory: none
"""


def write(folder: Path, name: str, text: str) -> str:
    """Write one option of a config group; the argument that lets a command find it."""
    path = folder / "mine" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return f"--config-dir={folder / 'mine'}"


@pytest.fixture
def one_level(tmp_path) -> list[str]:
    """The arguments of a short training of the flow of one level, that of its folder first."""
    return [write(tmp_path, "model/one_level.yaml", ONE_LEVEL), *QUICK, "model=one_level"]


def test_a_flow_trains_evaluates_and_resumes(command, one_level) -> None:
    run_dir = command("train", *one_level)
    figures = results(run_dir)
    checkpoint = run_dir / "checkpoints" / "last.ckpt"
    evaluation = command("eval", one_level[0], f"ckpt_path={checkpoint}", "trainer=cpu")
    assert results(evaluation)["test/bpd"] == pytest.approx(figures["test/bpd"], abs=0.5)
    assert results(evaluation)["test/round_trip_max"] < 1e-4
    drawn = {path.stem for path in (evaluation / "samples").iterdir()}
    assert drawn >= {"levels", "attention", "neighbours", "interpolation", "curves"}
    resumed = command("train", *one_level, f"resume={checkpoint}", "trainer.max_epochs=3")
    assert results(resumed)["steps"] == figures["steps"] * 3 // 2
    model = attnflow.load(run_dir, trust=["one_level"])
    assert type(model.flow) is OneLevel
    images = model.sample(3, seed=0)
    assert torch.equal(model.decode(model.encode(images)), images)


def test_a_flow_is_compiled_and_conditioned_on_classes(command, one_level, monkeypatch) -> None:
    compiled = []

    def compile_eagerly(flow: attnflow.Flow) -> None:
        compiled.append(flow)
        compile_flow(flow, backend="eager")

    monkeypatch.setattr("attnflow.callbacks.compiled_flow.compile_flow", compile_eagerly)
    options = [*one_level, "debug=fast", "conditioning=class", "attention=none"]
    plain = results(command("train", *options, "model.memory=reversible"))
    figures = results(command("train", *options, "trainer.compile=true"))
    assert compiled
    assert figures["test/bpd"] == pytest.approx(plain["test/bpd"], abs=1e-4)


def test_a_flow_is_conditioned_on_images(command, one_level) -> None:
    options = ["data=digits_inpaint", "conditioning=image", "attention=none"]
    run_dir = command("train", *one_level, "debug=fast", *options)
    weights = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    first = "model.conditioning.encoders.{}.layers.0.weight"
    assert first.format(0) in weights  # one map, as large as the images
    assert first.format(1) not in weights
    asked = ["eval.num_conditions=4", "eval.pictures=[conditions,levels]"]
    evaluation = command("eval", one_level[0], f"ckpt_path={run_dir}", "trainer=cpu", *asked)
    assert (evaluation / "samples" / "conditions.png").exists()


def test_memory_modes_and_compiled_blocks_of_a_flow_have_its_gradients() -> None:
    torch.manual_seed(0)
    make = partial(OneLevel, (1, 8, 8), attention=IMap)
    flows = {memory: make(memory=memory) for memory in ("none", "checkpoint", "reversible")}
    randomise(flows["none"], 0.1)
    for flow in flows.values():
        flow.load_state_dict(flows["none"].state_dict())
    x = torch.rand(3, 1, 8, 8)
    reference = gradients(flows["none"], x)
    for memory in ("checkpoint", "reversible"):
        assert_close(gradients(flows[memory], x), reference, 1e-4)
    compile_flow(flows["checkpoint"], backend="eager")
    assert_close(gradients(flows["checkpoint"], x), reference, 1e-4)


def test_a_position_that_a_flow_does_not_have_is_named() -> None:
    with pytest.raises(
        AttnFlowError, match="position: expected one of after_coupling, got 'level_end'"
    ):
        OneLevel((1, 8, 8), placement="level_end")


def test_an_attention_a_transform_and_a_data_set(command, tmp_path) -> None:
    for group, name in (("attention", "Scaling"), ("coupling", "Shear"), ("data", "Stripes")):
        partially = "" if group == "data" else "_partial_: true\n"
        folder = write(
            tmp_path, f"{group}/own.yaml", f"_target_: outside_parts.{name}\n{partially}"
        )
    own = [
        folder,
        *QUICK,
        "model.steps=1",
        "debug=fast",
        "attention=own",
        "coupling=own",
        "data=own",
    ]
    run_dir = command("train", *own)
    assert results(run_dir)["data"] == "own"
    asked = ["trainer=cpu", "eval.pictures=[attention]"]
    evaluation = command("eval", folder, f"ckpt_path={run_dir}", *asked)
    assert (evaluation / "samples" / "attention.png").exists()
    assert "Scaling" in repr(attnflow.load(run_dir, trust=["outside_parts"]).flow)
