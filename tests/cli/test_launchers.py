"""Sweeps whose jobs run side by side: here, and on a SLURM cluster that is only pretended."""

from __future__ import annotations

import os
import re

import pytest
import submitit
from conftest import results
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf
from refusals import refused

from attnflow.cli import run as commands
from attnflow.cli.ray_cluster import check_resources
from attnflow.errors import AttnFlowError


@pytest.mark.slow
def test_joblib_runs_jobs_side_by_side(train) -> None:
    sweep = train("launcher=joblib", "debug=fast", "attention=none,imap", "test=false")
    assert [results(sweep / job)["attention"] for job in "01"] == ["none", "imap"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "ray"])
def test_a_job_that_fails_side_by_side_is_told_by_the_exit_status(
    train, tmp_path, monkeypatch, launcher
) -> None:
    """Ray has two workers of its own here."""
    monkeypatch.setattr(commands, "_failed_jobs", [])
    options = ["debug=fast", "model.levels=9,1"]
    if launcher == "ray":
        options += ["hydra.launcher.ray.init.num_cpus=2"]
    with pytest.raises(SystemExit) as stopped:
        train(f"launcher={launcher}", *options, run_dir=tmp_path / "sweep")
    assert stopped.value.code == 1
    assert "got 9" in (tmp_path / "sweep" / "0" / "error.txt").read_text()
    assert results(tmp_path / "sweep" / "1")["test/bpd"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["hydra.launcher.ray.init.address=auto"], r"ray.init: expected .*any running Ray"),
        (["+hydra.launcher.ray.init.cpus=2"], r"ray.init: expected .*'cpus': 2"),
    ],
)
def test_a_ray_that_cannot_be_joined_is_told_in_one_sentence(
    command, tmp_path, options, told
) -> None:
    assert re.search(told, refused(command, "train", "launcher=ray", *options))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("takes", "accelerator", "told"),
    [
        ({"num_cpus": 3}, "auto", "num_cpus: expected 2 at most, all that this Ray has, got 3"),
        ({"num_gpus": 5}, "gpu", "num_gpus: expected 4 at most"),
        ({"num_cpus": 1}, "auto", "num_gpus: expected how many of the Ray's 4 GPUs"),
        ({"num_gpus": 0}, "gpu", "num_gpus: expected how many of the Ray's 4 GPUs"),
    ],
)
def test_jobs_that_a_ray_cannot_run_are_refused(takes, accelerator, told) -> None:
    options = OmegaConf.create({"init": {"address": "local"}, "remote": takes})
    with pytest.raises(AttnFlowError, match=told):
        check_resources(options, {"CPU": 2, "GPU": 4}, accelerator)
    fitting = OmegaConf.create({"init": {"address": "local"}, "remote": {"num_gpus": 4}})
    check_resources(fitting, {"CPU": 2, "GPU": 4}, accelerator)


def test_slurm_is_handed_a_job_for_each_of_the_sweep(train, tmp_path, monkeypatch) -> None:
    """A dry run: a command called sbatch keeps the script, and nothing waits for its job."""
    script = tmp_path / "script"
    commands = {"sbatch": f'cp "$1" {script}; echo "Submitted batch job 71"', "srun": "exit 1"}
    for name, command in commands.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{command}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    done = JobReturn(_return_value=1.0, status=JobStatus.COMPLETED)
    monkeypatch.setattr("submitit.Job.results", lambda job: [done])
    sweep = train("launcher=slurm", "trainer.devices=2", "hydra.launcher.partition=long")
    told = script.read_text()
    for option in ("ntasks-per-node=2", "nodes=1", "partition=long", "time=1440"):
        assert f"#SBATCH --{option}\n" in told
    assert "--signal=USR2@120" in told
    assert f"{sweep}/.submitit/%j" in told
    job = submitit.helpers.DelayedSubmission.load(sweep / ".submitit" / "71" / "71_submitted.pkl")
    assert "trainer.devices=2" in job.args[0]
    assert job.function.config.resume == "auto"
    # What submitit asks when SLURM stops the job: the same again.
    assert job.function.checkpoint(*job.args).args == job.args
