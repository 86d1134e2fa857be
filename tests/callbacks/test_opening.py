"""A start that is refused, however late, leaves the run that it was to go on with as it was."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from conftest import SHORT, results

TINY = [*SHORT, "trainer.max_epochs=1", "model.levels=1"]
TINY += ["trainer.limit_test_batches=1", "trainer.limit_val_batches=1"]
LOGS = ("train.log", ".lock")  # which tell of every start
LATE = [
    "optimizer.lr=-1",
    "optimizer.betas=[2,3]",
    "scheduler.warmup_steps=-1",
    "trainer.limit_val_batches=0",
    "trainer.val_check_interval=50",
    "trainer.max_time=00:00:00:00",
]


def held(folder: Path) -> dict[str, str]:
    """What every file of a run holds, but for those that tell of every start."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in LOGS
    }


def refused(call, *arguments: object, **named: object) -> str:
    with pytest.raises(SystemExit) as stopped:
        call(*arguments, **named)
    return str(stopped.value.code)


def test_a_late_refusal_changes_nothing_of_a_run(train) -> None:
    run_dir = train(*TINY, "logger=tensorboard")
    before = held(run_dir)
    assert "csv/version_0/metrics.csv" in before
    for option in LATE:
        options = [*TINY, "logger=tensorboard", "trainer.max_epochs=2", "resume=auto", option]
        assert refused(train, *options, run_dir=run_dir).startswith("error: ")
        assert held(run_dir) == before, option


def test_a_run_tells_the_options_of_its_last_leg_that_trained(train) -> None:
    run_dir = train(*TINY, "test=false")
    before = held(run_dir)
    for option in ("coupling=affine", "model.steps=3", "seed=-1", "test=7"):
        options = [*TINY, "trainer.max_epochs=2", "resume=auto", option]
        assert refused(train, *options, run_dir=run_dir).startswith("error: ")
        assert held(run_dir) == before, option
    assert not (run_dir / ".hydra.next").exists()
    options = [*TINY, "test=false", "trainer.max_epochs=2", "resume=auto", "optimizer.lr=0.003"]
    train(*options, run_dir=run_dir)
    assert "lr: 0.003\n" in (run_dir / ".hydra" / "config.yaml").read_text()
    assert "- optimizer.lr=0.003\n" in (run_dir / ".hydra" / "overrides.yaml").read_text()
    assert not (run_dir / ".hydra.next").exists()


@pytest.mark.slow
def test_a_sweeps_job_tells_the_options_of_its_last_leg_that_trained(command) -> None:
    sweep = ["train", "-m", *TINY, "test=false", "seed=1,2"]
    folder = command(*sweep)
    before = held(folder / "1" / ".hydra")
    (folder / "0").rename(folder / ".lost")  # a job that the resumed sweep begins anew
    again = [*sweep, "resume=auto", "trainer.max_epochs=2", "optimizer.lr=-1"]
    assert refused(command, *again, run_dir=folder) == "1"
    assert held(folder / "1" / ".hydra") == before
    assert "lr: -1\n" in (folder / "0" / ".hydra" / "config.yaml").read_text()
    assert not list(folder.rglob(".hydra.next"))


def test_a_refused_start_leaves_a_folder_for_the_right_command(train, tmp_path) -> None:
    run_dir = tmp_path / "run"
    for option in LATE:
        told = refused(train, *TINY, "logger=tensorboard", option, run_dir=run_dir)
        assert "without a run" not in told
        assert not {"csv", "tensorboard", "checkpoints", "samples"} & {
            path.name for path in run_dir.iterdir()
        }
    train(*TINY, "test=false", run_dir=run_dir)
    assert results(run_dir)["epochs"] == 1
    assert "params: " in (run_dir / "csv" / "version_0" / "hparams.yaml").read_text()


def test_loggers_get_the_test_of_a_run_that_has_nothing_left_to_train(train) -> None:
    run_dir = train(*TINY, "test=false")
    train(*TINY, "resume=auto", run_dir=run_dir)
    header, *rows = (run_dir / "csv" / "version_0" / "metrics.csv").read_text().splitlines()
    place = header.split(",").index("test/bpd")
    assert [row.split(",")[place] for row in rows][-1] != ""
