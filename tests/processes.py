"""Commands and their ranks as processes of their own, to be sent signals.

They are forked from a process that has imported everything: Python's own start of each would take
ten times as long as what is tested.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from conftest import ROOT, SHORT
from lightning.pytorch.strategies import DDPStrategy
from probe import COMMAND
from torch.multiprocessing import start_processes

from attnflow.cli import ranks

# Seconds that anything may take; only what is broken takes as long.
DEADLINE = 120.0
# A training that ends at a signal alone, saves at every step, and has a line for each in its CSV.
ENDLESS = [*SHORT, "scheduler=warmup_constant", "trainer.max_epochs=100000"]
ENDLESS += ["model.levels=1", "callbacks.last.every_n_steps=1"]
# A server of its own to fork from: this process has computed gradients, which forbids it.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["attnflow.cli.train", "attnflow.cli.evaluate", "processes"])


class Forked:
    """A process with what :class:`subprocess.Popen` has.

    Args:
        context: of multiprocessing, that starts it.
        target: what it does, with ``arguments``.
        output: the descriptor that it writes to; this process's own by default.
    """

    def __init__(
        self, context, target: Callable, *arguments: object, output: int | None = None
    ) -> None:
        outputs = (1, 2) if output is None else (output, output)
        ours = [Connection(os.dup(descriptor), readable=False) for descriptor in outputs]
        stdin, self.stdin = context.Pipe(duplex=False)
        arguments = (target, [stdin, *ours], self.stdin, *arguments)
        self.process = context.Process(target=_run, args=arguments)
        self.process.start()
        for connection in (stdin, *ours):
            connection.close()
        self.pid = self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired("it", timeout)
        return self.process.exitcode

    def send_signal(self, signum: int) -> None:
        if self.process.exitcode is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(
    target: Callable, standard: list[Connection], stdin: Connection, *arguments: object
) -> None:
    """In the new process: take its input and outputs, and end as Python does."""
    stdin.close()  # the end that others write to
    for descriptor, connection in enumerate(standard):
        os.dup2(connection.fileno(), descriptor)
        connection.close()
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", 1, closefd=False) for n in (1, 2))
    try:
        target(*arguments)
    finally:
        atexit._run_exitfuncs()


def _command(script: str, arguments: list[str], cwd: Path) -> None:
    """What a terminal does, and Python."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever these tests run under
    os.chdir(cwd)
    sys.argv = [f"{script}.py", *arguments]
    ranks.start = _fork_rank
    runpy.run_path(str(ROOT / f"{script}.py"), run_name="__main__")


def _rank(folder: Path, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = environment["PYTHONPATH"].split(os.pathsep)
    ranks.main(folder)


def _fork_rank(rank: int, folder: Path, environment: dict[str, str]) -> Forked:
    """Stands for ``attnflow.cli.ranks.start`` where no gradient was computed yet."""
    context = multiprocessing.get_context("fork")
    return Forked(context, _rank, folder, environment | {"LOCAL_RANK": str(rank)})


def serve_rank(rank: int, folder: Path, environment: dict[str, str]) -> Forked:
    """Stands for ``attnflow.cli.ranks.start`` in this process."""
    environment = environment | {"LOCAL_RANK": str(rank), COMMAND: str(os.getpid())}
    return Forked(SERVER, _rank, folder, environment)


def two_processes() -> dict[str, object]:
    """Arguments of a Lightning trainer of two processes."""
    return {"devices": 2, "strategy": DDPStrategy(start_method="forkserver")}


def in_two_processes(function: Callable, *arguments: object) -> None:
    """Call ``function(rank, *arguments)`` in each of two processes."""
    start_processes(function, arguments, nprocs=2, start_method="forkserver")


@contextmanager
def started(*arguments: object, cwd: Path, script: str = "train") -> Iterator[Forked]:
    """A command in a session of its own; whatever it leaves running is killed at the end."""
    with (cwd / "output").open("w") as output:
        process = Forked(
            SERVER, _command, script, list(map(str, arguments)), cwd, output=output.fileno()
        )
    try:
        yield process
    finally:
        for pid in members(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()


def until(happens: Callable[[], object], what: str) -> object:
    """Wait for something; returns it."""
    deadline = time.monotonic() + DEADLINE
    while not (it := happens()):
        assert time.monotonic() < deadline, f"no {what} in time"
        time.sleep(0.05)
    return it


def trains(process: Forked, *run_dirs: Path) -> None:
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


def ends(process: Forked) -> int:
    """The exit status, once the command and all of its processes have ended."""
    status = process.wait(DEADLINE)
    until(lambda: not members(process.pid), "end of all processes")
    return status
