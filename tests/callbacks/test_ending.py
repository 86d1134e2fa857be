"""Whatever ends training, its last step is validated, saved and drawn."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
import torch
from conftest import results
from lightning.pytorch.callbacks import Timer
from runs import assert_same_training, last

from attnflow.callbacks.ending import falls_due
from attnflow.training.module import FlowModule

# Three batches an epoch, a schedule that does not depend on where training stops.
TINY = [
    "scheduler=warmup_constant",
    "attention=none",
    "model.levels=1",
    "model.steps=1",
    "coupling_net.hidden_channels=4",
    "trainer.check_val_every_n_epoch=3",
]


def column(run_dir: Path, name: str) -> dict[int, float]:
    """A logged figure by the number of steps that training had made."""
    with (run_dir / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get(name)]
    return {int(row["step"]) + 1: float(row[name]) for row in rows}


@pytest.fixture
def time_is_up_at_step(monkeypatch):
    """Has the trainer's max_time run out at a step."""

    def arrange(step: int) -> None:
        def check(self: Timer, trainer) -> None:
            trainer.should_stop = trainer.global_step >= step

        monkeypatch.setattr(Timer, "_check_time_remaining", check)

    return arrange


@pytest.mark.parametrize(
    ("options", "validated", "begun"),
    [
        (["trainer.max_epochs=4"], [9, 12], 4),
        (["trainer.max_epochs=1"], [3], 1),
        (["trainer.max_steps=4", "callbacks.ema=null"], [4], 2),
        (["trainer.max_steps=6", "trainer.max_epochs=9"], [6], 2),  # the end of an epoch
        (["trainer.check_val_every_n_epoch=1000"], [6], 2),
        (["trainer.val_check_interval=2", "trainer.check_val_every_n_epoch=1"], [2, 5, 6], 2),
        (["trainer.val_check_interval=0.4", "trainer.max_epochs=3"], [7, 8, 9], 3),
        (["trainer.check_val_every_n_epoch=null", "trainer.val_check_interval=4"], [4, 6], 2),
        (["trainer.max_time=00:01:00:00", "trainer.max_epochs=-1"], [5], 2),
        (["trainer.val_check_interval='00:01:00:00'", "trainer.max_steps=5"], [5], 2),
    ],
)
def test_the_last_step_is_validated(train, time_is_up_at_step, options, validated, begun) -> None:
    time_is_up_at_step(5)
    run_dir = train(*TINY, "test=false", *options)
    figures, scores = results(run_dir), column(run_dir, "val/bpd")
    assert list(scores) == validated
    # An epoch has three steps; one that has begun is not done.
    assert (figures["steps"], figures["epochs"]) == (validated[-1], validated[-1] // 3)
    assert figures["val/bpd"] == pytest.approx(min(scores.values()))
    assert figures["val/step"] == min(scores, key=scores.get)
    assert figures["images_per_second"] > 0
    # It is written last, so that it knows of the best score.
    checkpoint = last(run_dir)
    assert checkpoint["global_step"] == validated[-1]
    (keeper,) = (s for s in checkpoint["callbacks"].values() if s.get("monitor") == "val/bpd")
    assert keeper["current_score"] == pytest.approx(scores[validated[-1]])
    assert (run_dir / "samples" / f"epoch_{begun:04d}.png").is_file()


def test_results_are_of_the_weights_that_were_tested(train, command) -> None:
    """The best step is not the last one where training goes uphill."""
    run_dir = train(*TINY, "trainer.check_val_every_n_epoch=1", "+optimizer.maximize=true")
    figures, scores = results(run_dir), column(run_dir, "val/bpd")
    best = run_dir / "checkpoints" / "best.ckpt"
    step = torch.load(best, weights_only=True)["global_step"]
    assert figures["test/step"] == figures["val/step"] == step == 3
    assert figures["steps"] == 6
    assert figures["val/bpd"] == pytest.approx(scores[3])
    assert scores[3] < scores[6]
    evaluated = command("eval", f"ckpt_path={best}", "eval.pictures=[]")
    assert results(evaluated)["test/step"] == 3
    assert results(evaluated)["test/bpd"] == pytest.approx(figures["test/bpd"], abs=1e-6)


def test_an_end_within_an_epoch_can_be_gone_on_from(train) -> None:
    options = [*TINY, "test=false", "trainer.max_epochs=9", "trainer.check_val_every_n_epoch=2"]
    whole = train(*options, "trainer.max_steps=8")
    part = train(*options, "trainer.max_steps=5")
    for file in ("last", "best"):
        checkpoint = part / "checkpoints" / f"{file}.ckpt"
        assert torch.load(checkpoint, weights_only=True)["global_step"] == 5
        resumed = train(*options, "trainer.max_steps=8", f"resume={checkpoint}")
        assert_same_training(last(whole), last(resumed))
        for name in ("train/bpd", "train/grad_norm", "lr-AdamW", "val/bpd"):
            expected, found = column(whole, name), column(resumed, name)
            later = [step for step in found if step > 5]
            assert later, name
            assert {step: found[step] for step in later} == {
                step: value for step, value in expected.items() if step > 5
            }, name


def test_the_checkpoint_of_a_validation_out_of_turn_can_be_gone_on_from(train) -> None:
    options = [*TINY, "test=false"]
    whole, part = train(*options, "trainer.max_epochs=4"), train(*options)
    resumed = train(*options, "trainer.max_epochs=4", f"resume={part}/checkpoints/best.ckpt")
    assert_same_training(last(whole), last(resumed))
    assert column(resumed, "train/bpd") == column(whole, "train/bpd")


def test_a_trial_run_keeps_no_checkpoint_and_says_so(train) -> None:
    run_dir = train(*TINY, "+trainer.fast_dev_run=true")
    figures = results(run_dir)
    assert figures["test/step"] == figures["val/step"] == figures["steps"] == 1
    assert 3 < figures["val/bpd"] < 6
    assert 3 < figures["test/bpd"] < 6
    assert "as trainer.fast_dev_run keeps none" in (run_dir / "train.log").read_text()
    assert not (run_dir / "checkpoints").exists()


@pytest.mark.parametrize("how", ["deleted", "damaged", "folder"])
def test_a_best_checkpoint_that_is_gone_costs_no_figures(train, tmp_path, monkeypatch, how) -> None:
    """Training goes uphill, so that the best step is not the last one."""
    take = FlowModule.on_train_batch_start

    def on_train_batch_start(self: FlowModule, batch: dict, batch_idx: int) -> None:
        best = Path(self.trainer.checkpoint_callbacks[0].best_model_path)
        if self.global_step == 5 and how == "folder":
            shutil.rmtree(best.parent)
            best.parent.write_text("")
        elif self.global_step == 5:
            best.unlink() if how == "deleted" else best.write_text("")
        take(self, batch, batch_idx)

    monkeypatch.setattr(FlowModule, "on_train_batch_start", on_train_batch_start)
    options = [*TINY, "trainer.check_val_every_n_epoch=1", "+optimizer.maximize=true"]
    run_dir = tmp_path / "gone"
    if how == "folder":  # last.ckpt is lost too, and that is an error
        with pytest.raises(SystemExit, match="could not be written"):
            train(*options, run_dir=run_dir)
    else:
        train(*options, run_dir=run_dir)
    figures = results(run_dir)
    assert figures["val/step"] == figures["test/step"] == figures["steps"] == 6
    assert figures["val/bpd"] == pytest.approx(column(run_dir, "val/bpd")[6])
    assert figures["test/bpd"] > 0
    log = (run_dir / "train.log").read_text()
    assert log.count("figures are those of the weights that training ended with, at step 6") == 1
    if how != "folder":
        assert f"{run_dir}/checkpoints/best.ckpt" in log


@pytest.mark.parametrize("logged_every", [2, 1000])
def test_every_epoch_logs_a_row(train, logged_every) -> None:
    """Two of three steps, and a last one of two."""
    options = ["test=false", "trainer.max_epochs=9", "trainer.max_steps=8"]
    run_dir = train(*TINY, *options, f"trainer.log_every_n_steps={logged_every}")
    logged = {2: [2, 4, 6, 8], 1000: [3, 6, 8]}[logged_every]
    for name in ("train/bpd", "train/grad_norm", "lr-AdamW", "train/skipped_steps"):
        assert list(column(run_dir, name)) == logged, name
    assert list(column(run_dir, "images_per_second")) == [3, 6, 8]
    with (run_dir / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = [row["step"] for row in csv.DictReader(file) if row["train/bpd"]]
    assert len(rows) == len(set(rows))


def test_a_step_of_several_batches_is_one_row(train) -> None:
    run_dir = train(*TINY, "test=false", "trainer.accumulate_grad_batches=2")
    with (run_dir / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in ("train/bpd", "train/grad_norm", "lr-AdamW"):
        assert [row["step"] for row in rows if row[name]] == ["0", "1", "2", "3"], name


class Validations:
    """What :func:`falls_due` asks of a trainer, in an epoch of ten batches."""

    num_training_batches, max_epochs, max_steps, should_stop = 10, 100, -1, False
    min_epochs = min_steps = global_step = 0
    is_last_batch = True

    def __init__(self, batch: int, every_n_epochs: int | None, interval: int = 10) -> None:
        self.current_epoch = (batch - 1) // 10
        self.check_val_every_n_epoch, self.val_check_batch = every_n_epochs, interval
        self.fit_loop = self
        self.total_batch_idx = batch - 1


def test_what_is_due_waits_for_the_next_validation() -> None:
    """Every 15 epochs, of which each third, fourth or second and a half is validated."""
    for every, found in ((3, [15, 30, 45, 60]), (4, [16, 32, 48, 60])):
        validated = range(every, 64, every)
        due = [n for n in validated if falls_due(Validations(10 * n, every), 15)]
        assert due == found
    validated = range(25, 650, 25)
    due = [n for n in validated if falls_due(Validations(n, None, 25), 15)]
    assert due == [150, 300, 450, 600]
    assert falls_due(Validations(1000, 3), 15)  # the last one
