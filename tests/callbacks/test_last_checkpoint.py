"""last.ckpt: there after every kind of fault, and training goes on from it as if nothing was."""

from __future__ import annotations

import logging
import os
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import SHORT, results, run_script
from runs import OPEN_ENDED, assert_same_training, last

from attnflow.callbacks.last_checkpoint import LastCheckpoint
from attnflow.callbacks.pictures import SamplePictures
from attnflow.errors import AttnFlowError
from attnflow.training.checkpoint_io import SafeCheckpointIO
from attnflow.training.module import FlowModule
from attnflow.training.resume import find_checkpoint

# Two epochs of five steps, with dropout, on batches that a worker has read ahead.
TRAINING = [*OPEN_ENDED, "model.levels=1", "trainer.limit_train_batches=5", "test=false"]


@pytest.fixture
def signal_at_step(monkeypatch):
    """Makes this process receive a signal when it starts a training step, once."""

    def arrange(step: int, signum: int) -> None:
        start, pending = FlowModule.on_train_batch_start, [signum]

        def on_train_batch_start(self: FlowModule, batch: dict, batch_idx: int) -> None:
            if self.global_step == step and pending:
                os.kill(os.getpid(), pending.pop())
            start(self, batch, batch_idx)

        monkeypatch.setattr(FlowModule, "on_train_batch_start", on_train_batch_start)

    return arrange


def stopped(train, *arguments: str, run_dir: Path) -> int:
    """The exit status of a training that a signal ends."""
    with pytest.raises(SystemExit) as ended:
        train(*arguments, run_dir=run_dir)
    assert not (run_dir / "results.json").exists()
    return ended.value.code


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that no signal ends."""
    folder = tmp_path_factory.mktemp("kept") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        run_script(patch, "train", *SHORT, *TRAINING, f"hydra.run.dir={folder}")
    return folder


@pytest.mark.parametrize(
    ("step", "saved", "options"),
    [
        (1, 2, []),  # in the first epoch
        (7, 8, ["data.num_workers=1"]),  # in the second
        (4, 5, []),  # at the last batch of an epoch: after its validation
    ],
)
def test_sigterm_costs_nothing(
    train, whole, tmp_path, signal_at_step, step, saved, options
) -> None:
    arguments = [*TRAINING, *options]
    signal_at_step(step, signal.SIGTERM)
    run_dir = tmp_path / "stopped"
    assert stopped(train, *arguments, run_dir=run_dir) == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert last(run_dir)["global_step"] == saved
    train(*arguments, "resume=auto", run_dir=run_dir)
    assert results(run_dir)["steps"] == 10
    assert results(run_dir)["val/bpd"] == results(whole)["val/bpd"]
    assert_same_training(last(whole), last(run_dir))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("hook", ["on_train_end", "teardown"])
def test_a_signal_after_the_last_save_ends_before_the_test(
    train, tmp_path, monkeypatch, hook, signum
) -> None:
    """It is the module's hooks that are called last."""
    pending = [signum]

    def receive(self: FlowModule, stage: str = "") -> None:
        if pending:
            os.kill(os.getpid(), pending.pop())

    monkeypatch.setattr(FlowModule, hook, receive)
    arguments = [*OPEN_ENDED, "model.levels=1", "trainer.max_epochs=1"]
    run_dir = tmp_path / "stopped"
    assert stopped(train, *arguments, run_dir=run_dir) == 128 + signum
    assert last(run_dir)["global_step"] == 3
    if signum == signal.SIGTERM:
        train(*arguments, "resume=auto", run_dir=run_dir)
        assert results(run_dir)["test/step"] == 3


def test_sigterm_before_the_first_step_ends_training(train, tmp_path, monkeypatch) -> None:
    """When Lightning's handlers stand, which would train on."""
    receive = partial(os.kill, os.getpid(), signal.SIGTERM)
    monkeypatch.setattr(SamplePictures, "on_train_start", lambda *_: receive())
    assert stopped(train, *TRAINING, run_dir=tmp_path / "stopped") == 128 + signal.SIGTERM
    assert not (tmp_path / "stopped" / "checkpoints" / "last.ckpt").exists()


def test_slurm_is_told_to_requeue(train, tmp_path, monkeypatch, signal_at_step) -> None:
    told = tmp_path / "told"
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {told}\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(scontrol.parent), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "71")
    signal_at_step(3, signal.SIGUSR1)
    run_dir = tmp_path / "requeued"
    assert stopped(train, *TRAINING, run_dir=run_dir) == 128 + signal.SIGUSR1
    assert told.read_text() == "requeue 71\n"
    assert last(run_dir)["global_step"] == 4


def test_who_waits_for_a_signal_gets_it_after_the_checkpoint(train, tmp_path, signal_at_step):
    """As submitit does, which requeues its job by itself."""
    run_dir, steps = tmp_path / "submitted", []
    before = signal.signal(
        signal.SIGUSR2, lambda signum, frame: steps.append(last(run_dir)["global_step"])
    )
    try:
        signal_at_step(3, signal.SIGUSR2)
        stopped(train, *TRAINING, run_dir=run_dir)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert steps == [4]


def save(path: Path, step: int) -> None:
    config = {"data": {}, "choices": {}, "seed": 0}
    described = {"config": config, "data_spec": {"image_shape": [1, 8, 8], "num_bins": 17}}
    content = {"attnflow": described, "state_dict": {"weight": torch.full((1000,), step)}}
    SafeCheckpointIO().save_checkpoint(content | {"global_step": step}, path)


def step_of(path: Path) -> int:
    return torch.load(path, weights_only=True)["global_step"]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def test_a_damaged_checkpoint_is_told_and_an_older_one_taken(tmp_path, caplog) -> None:
    folder = tmp_path / "checkpoints"
    for step in (1, 2):
        save(folder / "last.ckpt", step)
    save(folder / "best.ckpt", 0)
    assert find_checkpoint("auto", tmp_path) == str(folder / "last.ckpt")
    for damaged, taken, step in (("last", "last.previous", 1), ("last.previous", "best", 0)):
        truncate(folder / f"{damaged}.ckpt")
        with caplog.at_level(logging.WARNING):
            for resume in ("auto", str(tmp_path)):
                assert find_checkpoint(resume, tmp_path) == str(folder / f"{taken}.ckpt")
        assert f"{damaged}.ckpt: expected a file of torch.save" in caplog.text
        assert f"{taken}.ckpt of step {step}" in caplog.text
    truncate(folder / "best.ckpt")
    with pytest.raises(
        AttnFlowError, match=r"expected a readable checkpoint in .*, got damaged ones"
    ):
        find_checkpoint("auto", tmp_path)


def test_steps_between_checkpoints_must_be_some() -> None:
    with pytest.raises(AttnFlowError, match="every_n_steps: expected 1 or more, got 0"):
        LastCheckpoint("checkpoints", every_n_steps=0)


def test_a_long_epoch_is_saved_within(train, monkeypatch) -> None:
    saved = []
    write = SafeCheckpointIO.save_checkpoint

    def note(self, checkpoint: dict, path: Path, storage_options: object = None) -> None:
        saved.append((Path(path).name, checkpoint["global_step"]))
        write(self, checkpoint, path, storage_options)

    monkeypatch.setattr(SafeCheckpointIO, "save_checkpoint", note)
    train(*TRAINING, "callbacks.last.every_n_steps=2", "trainer.max_epochs=1")
    assert saved == [("last.ckpt", 2), ("last.ckpt", 4), ("best.ckpt", 5), ("last.ckpt", 5)]
