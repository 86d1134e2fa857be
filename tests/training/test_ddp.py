"""Training on several ranks is training on one: the same batches, weights and figures."""

from __future__ import annotations

import csv
import math
import shutil
from pathlib import Path

import pytest
import torch
from conftest import SHORT, results, run_script
from runs import OPEN_ENDED, assert_same, assert_same_training, last

# Two epochs of five steps, with dropout.
TRAINING = [
    *SHORT,
    *OPEN_ENDED,
    "trainer.limit_train_batches=5",
    "callbacks.pictures.every_n_epochs=1",
    "+callbacks.probe._target_=probe.Probe",
    "+callbacks.probe.folder=${paths.output_dir}",
]
RANKS = {1: "trainer=cpu", 2: "trainer=ddp_cpu"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[int, Path]:
    """The same training on one and on two ranks: run directories by number of ranks."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        for ranks, trainer in RANKS.items():
            run_script(patch, "train", *TRAINING, trainer, f"hydra.run.dir={folder / str(ranks)}")
    return {ranks: folder / str(ranks) for ranks in RANKS}


def held(run_dir: Path, rank: int) -> dict:
    """What the probe found on a rank."""
    return torch.load(run_dir / f"rank_{rank}.pt", weights_only=True)


def losses(run_dir: Path) -> list[float]:
    with (run_dir / "csv" / "version_0" / "metrics.csv").open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


@pytest.mark.slow
def test_both_ranks_hold_the_same_weights(runs) -> None:
    """After initialisation and after training, bit for bit."""
    first, second = (held(runs[2], rank) for rank in range(2))
    for when in ("start", "end"):
        assert_same(first[when], second[when])
    moved = "model.flow.levels.0.transforms.step_0.actnorm.shift"
    assert first["start"][moved].abs().min() > 0
    assert not torch.equal(first["start"][moved], first["end"][moved])


@pytest.mark.slow
def test_two_ranks_with_half_the_batch_are_one_with_the_whole(runs) -> None:
    one, two = losses(runs[1]), losses(runs[2])
    assert len(one) == 10
    assert two == pytest.approx(one, rel=1e-5)
    for batch, *shares in zip(
        held(runs[1], 0)["batches"],
        *(held(runs[2], rank)["batches"] for rank in range(2)),
        strict=True,
    ):
        assert [len(share) for share in shares] == [32, 32]
        assert torch.equal(torch.stack(shares, 1).flatten(), batch)
    for name, weights in last(runs[1])["state_dict"].items():
        torch.testing.assert_close(last(runs[2])["state_dict"][name], weights, rtol=1e-3, atol=1e-5)
    for name in ("val/bpd", "test/bpd"):
        assert results(runs[2])[name] == pytest.approx(results(runs[1])[name], abs=1e-4)


@pytest.mark.slow
def test_two_ranks_leave_one_run_directory(runs) -> None:
    def files(run_dir: Path) -> set[str]:
        return {str(path.relative_to(run_dir)) for path in run_dir.rglob("*")}

    assert files(runs[2]) - files(runs[1]) == {"rank_1.pt"}
    assert results(runs[2]).keys() == results(runs[1]).keys()


@pytest.mark.slow
def test_figures_do_not_depend_on_the_number_of_ranks(runs, command, forked_ranks) -> None:
    """Of a test split that no number of ranks divides, without repeating a sample."""
    common = [
        f"ckpt_path={runs[1]}/checkpoints/best.ckpt",
        "+data._target_=probe.FewerDigits",
        "eval.num_samples=8",
        "eval.importance_samples=2",
    ]
    one, *more = (
        results(command("eval", *common, *trainer))
        for trainer in (
            ["trainer=cpu"],
            ["trainer=ddp_cpu"],
            ["trainer=ddp_cpu", "trainer.devices=3"],
        )
    )
    for figures in more:
        for name in ("test/bpd", "test/bpd_importance"):
            assert figures[name] == pytest.approx(one[name], abs=1e-6)


@pytest.mark.slow
def test_a_sweep_runs_each_job_once_with_its_ranks(command, tmp_path, forked_ranks) -> None:
    sweep = tmp_path / "sweep"
    options = ["trainer=ddp_cpu", "trainer.max_epochs=1", "test=false", "attention=imap,itrans"]
    command("train", "-m", *TRAINING, *options, run_dir=sweep)
    for job, attention in enumerate(("imap", "itrans")):
        figures = results(sweep / str(job))
        assert (figures["attention"], figures["steps"]) == (attention, 5)
        assert math.isfinite(figures["val/bpd"])
        started = (sweep / str(job) / "started").read_text().split()
        assert sorted(started[::2]) == ["0", "1"]
    assert {path.name for path in sweep.glob("[!.]*")} == {"0", "1", "multirun.yaml"}


@pytest.mark.slow
def test_sigterm_stops_all_ranks_and_costs_nothing(runs, command, tmp_path, forked_ranks) -> None:
    """However many ranks then go on."""
    run_dir, alone = tmp_path / "stopped", tmp_path / "alone"
    stop = ["+callbacks.probe.how=stop", "+callbacks.probe.rank=0", "+callbacks.probe.step=7"]
    with pytest.raises(SystemExit) as stopped:
        command("train", *TRAINING, *stop, RANKS[2], run_dir=run_dir)
    assert stopped.value.code == 143
    # The ranks agree on a step; the signal may have reached the other one a step later.
    assert last(run_dir)["global_step"] in (8, 9)
    shutil.copytree(run_dir, alone)
    command("train", *TRAINING, RANKS[2], "resume=auto", run_dir=run_dir)
    assert_same_training(last(runs[2]), last(run_dir))
    command("train", *TRAINING, RANKS[1], "resume=auto", run_dir=alone)
    for name, weights in last(runs[1])["state_dict"].items():
        torch.testing.assert_close(last(alone)["state_dict"][name], weights, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_the_last_step_is_one_whatever_the_number_of_ranks(command, forked_ranks) -> None:
    """Validated out of turn within an epoch, after a window that an epoch's end cut short."""
    options = ["trainer.accumulate_grad_batches=2", "trainer.max_steps=4"]
    options += ["trainer.check_val_every_n_epoch=9", "trainer.max_epochs=9"]
    one, two = (command("train", *TRAINING, *options, ranks) for ranks in RANKS.values())
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)
    for run_dir in (one, two):
        figures = results(run_dir)
        assert figures["val/step"] == figures["test/step"] == figures["steps"] == 4
    for name in ("val/bpd", "test/bpd"):
        assert results(two)[name] == pytest.approx(results(one)[name], abs=1e-4)
    for name, weights in last(one)["state_dict"].items():
        torch.testing.assert_close(last(two)["state_dict"][name], weights, rtol=1e-3, atol=1e-5)
