"""What the whole program does with every kind of flow: one body, a line in FLOWS for each."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from conftest import QUICK, SMALL, results, run_script
from runs import OPEN_ENDED, assert_same, assert_same_training, last

from attnflow import load
from attnflow.flows import Jet, TarFlow

FLOWS = {"jet": Jet, "tarflow": TarFlow}
PROBE = ["+callbacks.probe._target_=probe.Probe", "+callbacks.probe.folder=${paths.output_dir}"]


@pytest.fixture(scope="module", params=FLOWS)
def flow(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def runs(flow, tmp_path_factory) -> dict[int, Path]:
    """The same training with iTrans on one and on two ranks: run directories by number of ranks."""
    folder = tmp_path_factory.mktemp("runs")
    options = [*QUICK, *SMALL[flow], *OPEN_ENDED, f"model={flow}", *PROBE]
    with pytest.MonkeyPatch.context() as patch:
        for ranks, trainer in {1: "trainer=cpu", 2: "trainer=ddp_cpu"}.items():
            run_script(patch, "train", *options, trainer, f"hydra.run.dir={folder / str(ranks)}")
    return {ranks: folder / str(ranks) for ranks in (1, 2)}


@pytest.mark.slow
def test_ranks_hold_the_same_weights_and_those_of_one(runs) -> None:
    first, second = (
        torch.load(runs[2] / f"rank_{rank}.pt", weights_only=True) for rank in range(2)
    )
    assert_same(first["end"], second["end"])
    alone = torch.load(runs[1] / "rank_0.pt", weights_only=True)
    for name, weight in alone["end"].items():
        torch.testing.assert_close(first["end"][name], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_resumed_training_is_uninterrupted_training(flow, runs, train, tmp_path) -> None:
    """Bit for bit, averages included."""
    options = [f"model={flow}", *OPEN_ENDED]
    part = train(*options, "trainer.max_epochs=1", "test=false")
    resumed = train(*options, "trainer.max_epochs=2", "test=false", "resume=auto", run_dir=part)
    assert_same_training(last(runs[1]), last(resumed))


@pytest.mark.slow
def test_what_a_run_leaves_is_a_whole_model(flow, runs) -> None:
    """Pictures of every kind, a round trip, samples."""
    folder = runs[1]
    drawn = {path.stem for path in folder.rglob("*.png")}
    assert any(name.startswith("attention") for name in drawn), drawn
    assert results(folder)["test/round_trip_max"] < 1e-4
    model = load(folder)
    assert isinstance(model.flow, FLOWS[flow])
    assert model.sample(2, seed=0).shape == (2, 1, 8, 8)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [["model.memory=checkpoint", "trainer.precision=bf16-mixed"], ["model.memory=reversible"]],
    ids=["checkpoint, bf16", "reversible"],
)
def test_options_of_training(flow, train, options) -> None:
    figures = results(train(f"model={flow}", "debug=fast", "trainer.accelerator=cpu", *options))
    assert figures["test/bpd"] > 0


@pytest.mark.slow
def test_a_copied_run_is_evaluated_alike(runs, command, tmp_path) -> None:
    copied = shutil.copytree(runs[1], tmp_path / "copied")
    figures = results(command("eval", f"ckpt_path={copied}"))
    assert figures["test/bpd"] == pytest.approx(results(runs[1])["test/bpd"], abs=1e-6)
