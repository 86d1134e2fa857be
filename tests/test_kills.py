"""A training that is killed at random moments ends as one that is not."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("signal", ["SIGKILL", "SIGINT"])
def test_killed_trainings_end_the_same(tmp_path, signal) -> None:
    """In a process that has computed no gradient: it forks its trainings."""
    command = [sys.executable, str(ROOT / "benchmarks" / "kills.py"), "--kills", "2"]
    run = subprocess.run(
        [*command, "--signal", signal, "--out", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    table = (tmp_path / f"kills_{signal.lower()}_1.md").read_text()
    row = [cell.strip() for cell in table.splitlines()[-1].split("|")[1:-1]]
    ranks, told, kills, _, trainings, same, lost, failed = row
    assert (ranks, told, kills, lost, failed) == ("1", signal, "2", "0", "0")
    assert int(same) == int(trainings) >= 1
