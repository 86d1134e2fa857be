"""Ctrl-C and other signals: what was trained is saved, all processes end, the status says why."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from processes import DEADLINE, ENDLESS, SERVER, Forked, ends, members, started, trains, until
from runs import last

from attnflow.cli import workers

RANKS = {1: [], 2: ["trainer=ddp_cpu", "trainer.limit_val_batches=2"]}


def output(folder: Path) -> str:
    """What a command has said."""
    said = (folder / "output").read_text()
    assert "Traceback" not in said, said
    return said


def steps(run_dir: Path) -> int:
    """Of the newest row of metrics: no training step after it."""
    return int(last(run_dir)["global_step"])


@pytest.mark.slow
@pytest.mark.parametrize("to_all", [False, True], ids=["command", "terminal"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_ctrl_c_saves_the_step_and_says_how_to_go_on(tmp_path, ranks, to_all) -> None:
    """A terminal sends it to all processes of the command, whose ranks get it twice."""
    run_dir = tmp_path / "run"
    options = [*ENDLESS, *RANKS[ranks], f"hydra.run.dir={run_dir}"]
    options += ["callbacks.last.every_n_steps=100000", "data.num_workers=1"]
    with started(*options, cwd=tmp_path) as process:
        trains(process, run_dir)  # the first epoch's end
        (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
        assert ends(process) == 130
    (line,) = [line for line in output(tmp_path).splitlines() if "SIGINT" in line]
    path = run_dir / "checkpoints" / "last.ckpt"
    assert f"training ends after step {steps(run_dir)}; resume={path} goes on" in line
    assert not (run_dir / "results.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_second_ctrl_c_ends_at_once(tmp_path, ranks) -> None:
    """In a step that takes for ever."""
    run_dir = tmp_path / "run"
    probe = ["+callbacks.probe._target_=probe.Probe", f"+callbacks.probe.folder={run_dir}"]
    probe += ["+callbacks.probe.how=hang", f"+callbacks.probe.rank={ranks - 1}"]
    options = [*ENDLESS, *RANKS[ranks], *probe]
    with started(*options, f"hydra.run.dir={run_dir}", cwd=tmp_path) as process:
        trains(process, run_dir)
        until(lambda: (run_dir / "hanging").exists(), "step that hangs")
        process.send_signal(signal.SIGINT)
        with pytest.raises(Exception, match="timed out"):
            process.wait(1)
        process.send_signal(signal.SIGINT)
        assert ends(process) == 130
    output(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_before_training_there_is_nothing_to_save(tmp_path, signum) -> None:
    with started(*ENDLESS, f"hydra.run.dir={tmp_path}/run", cwd=tmp_path) as process:
        until(lambda: (tmp_path / "run" / "train.log").exists(), "log")
        process.send_signal(signum)
        assert ends(process) == 128 + signum
    assert "goes on" not in output(tmp_path)


@pytest.mark.slow
def test_a_signal_counts_where_what_it_interrupts_cannot_clean_up(tmp_path) -> None:
    """Its exit was hidden by the error of a config that was being copied."""
    options = ["+callbacks.probe._target_=probe.Interrupted", f"hydra.run.dir={tmp_path}/run"]
    with started(*ENDLESS, *options, cwd=tmp_path) as process:
        assert ends(process) == 143
    assert "error" not in output(tmp_path)
    assert not (tmp_path / "run" / "error.txt").exists()


@pytest.mark.slow
def test_ctrl_c_ends_a_sweep_with_its_job(tmp_path) -> None:
    sweep = tmp_path / "sweep"
    options = ["-m", *ENDLESS, f"hydra.sweep.dir={sweep}", "seed=0,1"]
    with started(*options, cwd=tmp_path) as process:
        trains(process, sweep / "0")
        process.send_signal(signal.SIGINT)
        assert ends(process) == 130
    assert f"after step {steps(sweep / '0')};" in output(tmp_path)
    assert not (sweep / "1").exists()


@pytest.mark.slow
def test_ctrl_c_ends_an_evaluation(train, tmp_path) -> None:
    run_dir = train("debug=fast", "test=false")
    options = [f"ckpt_path={run_dir}/checkpoints/best.ckpt", "eval.importance_samples=100000"]
    with started(*options, "hydra.run.dir=eval", cwd=tmp_path, script="eval") as process:
        until(lambda: (tmp_path / "eval" / "eval.log").exists(), "log")
        process.send_signal(signal.SIGINT)
        assert ends(process) == 130
    output(tmp_path)
    assert not (tmp_path / "eval" / "results.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "signum"),
    [
        ("launcher=joblib", signal.SIGTERM),
        ("launcher=joblib", signal.SIGINT),
        ("launcher=joblib", signal.SIGKILL),
        ("launcher=ray", signal.SIGINT),
        ("hydra/launcher=submitit_local", signal.SIGHUP),
        ("hydra/launcher=submitit_local", signal.SIGKILL),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_jobs_side_by_side_end_with_their_command(tmp_path, launcher, signum) -> None:
    """Each saved: what is saved at signals alone holds a step that no epoch ends with."""
    sweep = tmp_path / "sweep"
    # joblib has two at a time and one that waits; submitit starts a Python for each, which is slow.
    seeds = "seed=0,1,2" if launcher == "launcher=joblib" else "seed=0,1"
    options = ["-m", *ENDLESS, launcher, f"hydra.sweep.dir={sweep}", seeds]
    options += ["data.num_workers=1", "trainer.limit_train_batches=15"]
    with started(*options, cwd=tmp_path) as process:
        trains(process, sweep / "0", sweep / "1")
        # A terminal's Ctrl-C reaches all processes of this machine, but none that SLURM started.
        to_all = signum == signal.SIGINT and launcher == "launcher=joblib"
        (os.killpg if to_all else os.kill)(process.pid, signum)
        assert ends(process) == (-9 if signum == signal.SIGKILL else 128 + signum)
    said = output(tmp_path)
    for job in ("0", "1"):
        ended = (sweep / job / "train.log").read_text()
        assert f"training ends after step {steps(sweep / job)};" in ended
    if signum != signal.SIGKILL:
        assert f"{signum.name}: the sweep ends" in said
    assert not list(sweep.glob("*/error.txt"))


def swallow_the_first(folder: Path) -> None:
    """A sweep's worker, in a process of its own, whose job goes on after the first signal."""
    os.environ["SLURM_JOB_ID"] = "1"  # its command may be on another machine
    workers.AGAIN = 0.2
    (folder / workers.STOP).write_text(str(int(signal.SIGHUP)))
    with workers.worker(folder):
        for _ in range(2):
            with suppress(SystemExit):
                time.sleep(DEADLINE)
                return
        time.sleep(DEADLINE)


def test_a_job_that_swallows_its_signal_is_told_again(tmp_path) -> None:
    process = Forked(SERVER, swallow_the_first, tmp_path)
    assert ends(process) == 128 + signal.SIGHUP


@pytest.mark.slow
def test_a_signal_to_one_job_ends_that_job_alone(tmp_path) -> None:
    sweep = tmp_path / "sweep"
    options = ["-m", *ENDLESS, "launcher=joblib", f"hydra.sweep.dir={sweep}", "seed=0,1"]
    with started(*options, cwd=tmp_path) as process:
        trains(process, sweep / "0", sweep / "1")
        holder = int((sweep / "0" / ".lock").read_text().split()[1])
        assert holder in members(process.pid)
        os.kill(holder, signal.SIGTERM)
        error = sweep / "0" / "error.txt"
        until(lambda: error.exists() and error.read_text(), "error")
        assert error.read_text() == "the job was ended by SIGTERM."
        seen = steps(sweep / "1")
        until(lambda: steps(sweep / "1") > seen, "further step")
        process.send_signal(signal.SIGTERM)
        assert ends(process) == 143
    output(tmp_path)
