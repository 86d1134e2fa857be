"""Commands as processes of their own, to be sent signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import ROOT, SHORT

# Seconds that anything may take; only what is broken takes as long.
DEADLINE = 120.0
# A training that ends at a signal alone, saves at every step, and has a line for each in its CSV.
ENDLESS = [*SHORT, "scheduler=warmup_constant", "trainer.max_epochs=100000"]
ENDLESS += ["model.levels=1", "callbacks.last.every_n_steps=1"]


@contextmanager
def started(*arguments: object, cwd: Path, script: str = "train") -> Iterator[subprocess.Popen]:
    """A command in a session of its own; whatever it leaves running is killed at the end."""
    command = [sys.executable, str(ROOT / f"{script}.py"), *map(str, arguments)]
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    with (cwd / "output").open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": path},  # where probe lies
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        for pid in members(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def until(happens: Callable[[], object], what: str) -> object:
    """Wait for something; returns it."""
    deadline = time.monotonic() + DEADLINE
    while not (it := happens()):
        assert time.monotonic() < deadline, f"no {what} in time"
        time.sleep(0.05)
    return it


def trains(process: subprocess.Popen, *run_dirs: Path) -> None:
    """Wait until trainings have saved."""

    def saved() -> bool:
        assert process.poll() is None, f"ended with {process.returncode}"
        return all((folder / "checkpoints" / "last.ckpt").exists() for folder in run_dirs)

    until(saved, "checkpoint")


def members(session: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its_session = stat.read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(its_session) == session and state != "Z":
            found.append(int(stat.parent.name))
    return found


def ends(process: subprocess.Popen) -> int:
    """The exit status, once the command and all of its processes have ended."""
    status = process.wait(DEADLINE)
    until(lambda: not members(process.pid), "end of all processes")
    return status
