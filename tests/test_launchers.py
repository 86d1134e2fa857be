"""Sweeps whose jobs run side by side: here, and on a SLURM cluster that is only pretended."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from conftest import results


def put_on_path(monkeypatch: pytest.MonkeyPatch, folder: Path, **scripts: str) -> None:
    """Shell scripts as commands, by name."""
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


@pytest.mark.slow
def test_joblib_runs_jobs_side_by_side(train) -> None:
    sweep = train("launcher=joblib", "debug=fast", "attention=none,imap", "test=false")
    assert [results(sweep / job)["attention"] for job in "01"] == ["none", "imap"]


@pytest.mark.slow
def test_slurm_is_handed_a_job_for_each_of_the_sweep(train, tmp_path, monkeypatch) -> None:
    """By commands of its name: sbatch runs the script, srun what it is given."""
    script, pickled = tmp_path / "script", "sweep/.submitit/71/71_submitted.pkl"
    put_on_path(
        monkeypatch,
        tmp_path / "bin",
        sbatch=(
            f'for last; do :; done; cp "$last" {script}\n'
            "export SLURM_JOB_ID=71 SLURM_JOB_NAME=train SLURM_NTASKS=1 SLURM_NTASKS_PER_NODE=1\n"
            "export SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=localhost SLURM_NODELIST=localhost\n"
            "export SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0\n"
            f"(while [ ! -s {tmp_path / pickled} ]; do sleep 0.1; done; sh {script}) >&2 &\n"
            'echo "Submitted batch job 71"'
        ),
        srun=f'while [ "$1" != {sys.executable} ]; do shift; done; exec "$@"',
        sacct='echo "JobID|State|NodeList"; echo "71|RUNNING|localhost"',
    )
    options = ["launcher=slurm", "debug=fast", "test=false", "hydra.launcher.partition=long"]
    sweep = train(*options, run_dir=tmp_path / "sweep")
    figures = results(sweep / "0")
    assert (figures["launcher"], figures["steps"]) == ("slurm", 1)
    told = script.read_text()
    for option in ("ntasks-per-node=1", "nodes=1", "partition=long", "time=1440"):
        assert f"#SBATCH --{option}\n" in told
    assert "--signal=USR2@120" in told
