"""A training that is killed at random moments ends as one that is not."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.slow
def test_killed_trainings_end_the_same(tmp_path) -> None:
    """In a process that has computed no gradient: it forks its trainings."""
    run = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "kills.py"), "--kills", "3", "--out", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    row = (tmp_path / "kills_1.md").read_text().splitlines()[-1].split("|")
    ranks, kills, _, trainings, same, failed = (int(cell) for cell in row[1:-1])
    assert (ranks, kills, failed) == (1, 3, 0)
    assert same == trainings >= 1
