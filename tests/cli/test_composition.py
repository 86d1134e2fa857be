"""Options that no config can be composed of: one sentence each, and nothing written."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import run_script
from refusals import refused

from attnflow.cli.composition import FULL_ERROR, OURS, flags_first


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["attnetion=none"], "attnetion=none: expected an option of attnflow train such as atten"),
        (["zzz=1"], "zzz=1: expected an option of attnflow train (--help lists them)"),
        (["optimizer.learning_rate=1"], "expected an option that optimizer holds"),
        (["trainer=gppu"], "trainer: expected one of auto, cpu, ddp, ddp_cpu, gpu, got gppu."),
        (["-m", "placement=none,bogus"], "several, got bogus."),
        (["~label"], "~label: expected an option that holds a value"),
        (["seed"], "seed: expected key=value"),
        (["resume=a=b"], "resume=a=b: expected key=value, the value in quotes of its own"),
        (["seed=${nowhere}", "++a.b=${x"], "++a.b=${x: expected key=value"),
        (["--bogus"], "unrecognized arguments: --bogus"),
        (["--cfg", "jobs"], "invalid choice: 'jobs'"),
        (["--config-dir", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_composed(options, told, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert told in refused(run_script, monkeypatch, "train", *options)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not {FULL_ERROR, OURS} & set(os.environ)


def test_hydra_tells_in_its_own_way_where_it_is_asked_to(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FULL_ERROR, "1")
    with pytest.raises(Exception, match="gppu"):
        run_script(monkeypatch, "train", "trainer=gppu")
    assert os.environ[FULL_ERROR] == "1"


def test_a_sweep_s_flag_may_stand_anywhere() -> None:
    assert flags_first(["seed=1,2", "-m", "n=2"]) == ["-m", "seed=1,2", "n=2"]
    assert flags_first(["--cfg", "job", "seed=1"]) == ["--cfg", "job", "seed=1"]


def test_a_reader_who_closes_the_pipe_of_the_help_sees_no_traceback() -> None:
    """As ``attnflow train --help | head -1`` does."""
    command = [sys.executable, "-m", "attnflow", "train", "--help"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, told = process.communicate()
    assert told == b""
    assert process.returncode == 0
