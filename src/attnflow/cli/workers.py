"""Jobs of a sweep in processes of their own: they end with the sweep's command, and are saved.

At a signal, the command leaves a file, STOP, in the sweep's folder, waits until no job holds the
lock of JOBS any more, and ends its workers and itself. A worker looks for that file, and for its
command, and ends its job as the signal would. That is the same for every launcher, and for jobs on
other machines that share the folder.
"""

from __future__ import annotations

import fcntl
import logging
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from hydra.conf import HydraConf

from attnflow.errors import AttnFlowError
from attnflow.utils.signals import ENDING, end_at_signals, signals_count_once

__all__ = ["Command", "in_worker", "worker"]

STOP, JOBS = ".stop", ".jobs"
# The environment variable that tells workers the command's process.
COMMAND = "ATTNFLOW_COMMAND"
POLL = 0.1
# Seconds after which a job that goes on is told again: what a signal raises can be swallowed, where
# a library catches everything.
AGAIN = 5.0
# Seconds that a job gets to save once its command was killed.
PATIENCE = 60.0

log = logging.getLogger(__name__)


def in_worker(hydra: HydraConf) -> bool:
    """Whether a sweep's jobs run in other processes than its command, by Hydra's own options."""
    return not hydra.launcher._target_.endswith("BasicLauncher")


class Command:
    """The sweep's command, which a signal ends together with its jobs.

    Args:
        folder: the sweep's.
        on_cluster: the jobs are a cluster's, and go on where only the terminal is lost.
    """

    def __init__(self, folder: Path, on_cluster: bool) -> None:
        self.folder = folder
        self.on_cluster = on_cluster
        self.ending = 0
        (folder / STOP).unlink(missing_ok=True)  # of an earlier start
        os.environ[COMMAND] = str(os.getpid())
        self.before = {s: signal.getsignal(s) for s in ENDING}
        for signum, handler in self.before.items():
            if handler != signal.SIG_IGN:
                signal.signal(signum, self._end)

    def finish(self) -> None:
        """Restore the signal handlers from before the sweep."""
        for signum, handler in self.before.items():
            signal.signal(signum, handler)

    def _end(self, signum: int, frame: FrameType | None) -> NoReturn:
        """A signal's handler: the launcher, which waits for its jobs, does not go on."""
        if self.ending or (self.on_cluster and signum == signal.SIGHUP):
            end_now(self.ending or signum)
        self.ending = signum
        log.warning(
            "%s: the sweep ends once its running jobs are saved, at a second signal at once; "
            "resume=auto hydra.sweep.dir=%s goes on.",
            signal.Signals(signum).name,
            self.folder,
        )
        (self.folder / STOP).write_text(str(int(signum)))
        with suppress(OSError), (self.folder / JOBS).open("a") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)  # as soon as no job runs
        end_now(signum)


def end_now(signum: int) -> NoReturn:
    """End the workers and this process, whatever they do."""
    for child in multiprocessing.active_children():
        if child.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(128 + signum)


@contextmanager
def worker(folder: Path) -> Iterator[None]:
    """Run a job, in a worker of the sweep in ``folder``, until it or the sweep ends.

    Raises:
        AttnFlowError: a signal ended this job alone.
    """
    signals_count_once()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)  # Ray blocks SIGINT
    # The system's default: joblib's own cannot start the workers of a data loader.
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
    watch = Watch.start(folder)
    with (folder / JOBS).open("a+") as file:
        with suppress(OSError):  # a file system without locks
            fcntl.lockf(file, fcntl.LOCK_SH)
        end_at_signals()
        watch.busy.set()
        try:
            yield
        except SystemExit as stopped:
            watch.busy.clear()
            if not isinstance(stopped.code, int) or stopped.code <= 128:
                raise
            if not watch.sweep_ends():
                name = signal.Signals(stopped.code - 128).name
                raise AttnFlowError(f"the job was ended by {name}.") from stopped
            file.close()  # which lets the command end
            watch.wait_for_the_command(stopped.code)
        finally:
            watch.busy.clear()


class Watch:
    """A worker's thread that looks after its sweep's command.

    Attributes:
        busy: a job runs.
    """

    started: Watch | None = None

    def __init__(self, folder: Path) -> None:
        self.stop = folder / STOP
        self.busy = threading.Event()
        self.command = int(os.environ.get(COMMAND, "0"))
        self.is_child = self.command == os.getppid()

    @classmethod
    def start(cls, folder: Path) -> Watch:
        """Start this process's watch, once, and return it."""
        if cls.started is None:
            cls.started = cls(folder)
            threading.Thread(target=cls.started.run, daemon=True).start()
        return cls.started

    def run(self) -> None:
        """End the job by a signal as soon as the sweep ends; then this process."""
        told = -math.inf
        while True:
            due = self.busy.is_set() and time.monotonic() - told > AGAIN
            if due and (signum := self.ending_signal()):
                os.kill(os.getpid(), signum)
                told = time.monotonic()
            if self.is_gone():
                time.sleep(PATIENCE if self.busy.is_set() else 0)
                os._exit(1)
            time.sleep(POLL)

    def ending_signal(self) -> int:
        """Return the signal that ends the sweep; 0 for none."""
        with suppress(OSError, ValueError):
            return int(self.stop.read_text())
        return signal.SIGTERM if self.is_gone() else 0

    def is_gone(self) -> bool:
        """Whether the command has ended, however."""
        if self.is_child:
            return os.getppid() != self.command
        if "SLURM_JOB_ID" in os.environ:  # perhaps on another machine, and queued to stay
            return False
        try:
            os.kill(self.command, 0)
        except ProcessLookupError:
            return True
        return False

    def sweep_ends(self, patience: float = 2.0) -> bool:
        """Whether the sweep ends, now or within some seconds."""
        deadline = time.monotonic() + patience
        while not self.ending_signal() and time.monotonic() < deadline:
            time.sleep(POLL)
        return bool(self.ending_signal())

    def wait_for_the_command(self, code: int) -> NoReturn:
        """End after the command, to which a job that ends before looks like one that fails."""
        while not (self.is_gone() or "SLURM_JOB_ID" in os.environ):
            time.sleep(POLL)
        os._exit(code)
