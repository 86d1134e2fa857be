"""Several ranks on one machine: one process each, started and watched by the command itself.

Lightning would start the others by running the command line again, which in a sweep is the whole
sweep, and in a launcher's worker no command line at all. Here every rank is handed the composed
config of its own job, so it needs neither.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log, setup_globals
from omegaconf import DictConfig

from attnflow.cli.launch import is_single
from attnflow.cli.sentences import sentence_of
from attnflow.errors import AttnFlowError
from attnflow.runs.names import TRAIN
from attnflow.utils.signals import (
    ENDING,
    end_at_signals,
    second_ends,
    signals_count_once,
    signals_first,
)

__all__ = ["count_ranks", "run_ranks"]

Task = Callable[[DictConfig], "float | None"]

# Seconds that the other ranks get to tell their own error, once one of them has failed,
GRACE = 5.0
# and to end themselves, once a signal has ended one of them.
LINGER = 60.0
POLL = 0.1
# Signals that are handed on to the ranks, which save what they have (LastCheckpoint).
FORWARDED = (*ENDING, signal.SIGUSR1, signal.SIGUSR2)


def count_ranks(config: DictConfig) -> int:
    """How many processes to start here; 0 where this one does the work itself.

    That is so with a single device, and where SLURM or torchrun have started the ranks.
    """
    if "trainer" not in config or is_single(config):
        return 0
    options = config.trainer
    # Imported here: it takes seconds.
    from attnflow.utils.making import make
    from attnflow.utils.quiet import quiet_warnings

    with quiet_warnings():
        trainer = make(options, "trainer", logger=False, enable_checkpointing=False)
    if trainer.world_size > 1 and options.get("strategy") is None:
        name = "devices" if options.get("num_nodes", 1) == 1 else "num_nodes"
        raise AttnFlowError(
            f"trainer.{name}: expected 1 for a trainer of one device (trainer=ddp and "
            f"trainer=ddp_cpu take more), got {options[name]}."
        )
    strategy = trainer.strategy
    if strategy.launcher is None or strategy.cluster_environment.creates_processes_externally:
        return 0
    if config.task_name == TRAIN:
        from attnflow.data.base import share_of_a_batch

        share_of_a_batch(config.data.global_batch_size, trainer.world_size)
    return trainer.num_devices


def run_ranks(task: Task, config: DictConfig, ranks: int) -> float | None:
    """Run ``task(config)`` in ``ranks`` processes; returns what rank 0 returns.

    Where one fails, all are ended. Signals are handed on to them; a second Ctrl-C ends them.

    Args:
        task: a function of a module.
        config: the job's, composed; together with Hydra's own it goes to every rank.
        ranks: of this machine; with ``trainer.num_nodes`` above 1, the command runs on each.

    Raises:
        AttnFlowError: a rank failed; or the port, or the address of the first node, is no good.
        SystemExit: a signal ended the ranks.
    """
    environment = rank_environment(int(config.trainer.get("num_nodes", 1)), ranks)
    with tempfile.TemporaryDirectory(prefix="attnflow_ranks_") as name:
        folder = Path(name)
        payload = task, config, HydraConfig.instance().cfg
        (folder / "job.pickle").write_bytes(pickle.dumps(payload))
        processes: list[subprocess.Popen] = []
        try:
            with forwarded_signals(processes) as received:
                for rank in range(ranks):
                    processes.append(start(rank, folder, environment))
                wait(processes)
            codes = [process.poll() for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        if any(code != 0 for code in codes):
            told_to_stop = received or [s for s in FORWARDED if 128 + s in codes]
            if told_to_stop:
                hand_back(told_to_stop[0])
            raise AttnFlowError(cause_of_failure(folder, codes))
        return json.loads((folder / "value.json").read_text())


def rank_environment(nodes: int, ranks: int) -> dict[str, str]:
    """The environment variables that all ranks share."""
    given = dict(os.environ)
    if nodes > 1:
        missing = [n for n in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if n not in given]
        if missing:
            raise AttnFlowError(
                f"trainer.num_nodes={nodes}: expected the first node's address, a free port of it "
                "and this node's number on every node, or a start by SLURM or torchrun, got no "
                f"{' and no '.join(missing)} in the environment."
            )
    given.setdefault("MASTER_ADDR", "127.0.0.1")
    given.setdefault("NODE_RANK", "0")
    if given["NODE_RANK"] == "0":
        given["MASTER_PORT"] = str(free_port(given.get("MASTER_PORT")))
    # Ranks must not fight over the cores, and find what the command's own process finds.
    given.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // ranks)))
    given["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return given


def free_port(wanted: str | None) -> int:
    """A free port, or the wanted one (MASTER_PORT) if it is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", int(wanted or 0)))
        except (OSError, OverflowError, ValueError) as error:
            raise AttnFlowError(
                f"MASTER_PORT: expected the number of a free port, or none, got {wanted} ({error})."
            ) from error
        return probe.getsockname()[1]


def start(rank: int, folder: Path, environment: dict[str, str]) -> subprocess.Popen:
    """Start one rank; it ends when this process does, because its standard input does."""
    return subprocess.Popen(
        [sys.executable, "-m", "attnflow.cli.ranks", str(folder)],
        env=environment | {"LOCAL_RANK": str(rank)},
        stdin=subprocess.PIPE,
    )


@contextmanager
def forwarded_signals(processes: Sequence[subprocess.Popen]) -> Iterator[list[int]]:
    """Hand signals on to the processes, and list them; outside the main thread, do nothing."""
    received: list[int] = []

    def forward(signum: int, frame: object) -> None:
        at_once = bool(received) and second_ends(received[0], signum)
        received.append(signum)
        for process in processes:
            process.send_signal(signal.SIGKILL if at_once else signum)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {signum: signal.signal(signum, forward) for signum in FORWARDED}
    try:
        yield received
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def hand_back(signum: int) -> NoReturn:
    """Call the other handler of a signal, such as submitit's, then exit."""
    handler = signal.getsignal(signum)
    if callable(handler):
        handler(signum, None)
    raise SystemExit(128 + signum)


def wait(processes: Sequence[subprocess.Popen]) -> None:
    """Wait until all processes have ended, or one has failed and the others had time to follow."""
    deadline = float("inf")
    # All are asked, as the first may wait for ever for one that has ended.
    while None in (codes := [process.poll() for process in processes]):
        if any(codes):
            patience = GRACE if any(failed(code) for code in codes) else LINGER
            deadline = min(deadline, time.monotonic() + patience)
        if time.monotonic() > deadline:
            return
        time.sleep(POLL)


def failed(code: int | None) -> bool:
    """Whether a process has ended, but neither well nor as a signal asked it to."""
    return bool(code) and code - 128 not in FORWARDED


def cause_of_failure(folder: Path, codes: Sequence[int | None]) -> str:
    """One sentence: the error that came first; the other ranks' follow from it.

    Args:
        folder: where ranks write their errors.
        codes: the ranks' exit statuses; None of those that had to be ended.
    """
    errors = sorted(folder.glob("error_*.json"), key=lambda path: path.stat().st_mtime_ns)
    told = {int(path.stem.split("_")[1]): json.loads(path.read_text()) for path in errors}
    for sentence, _ in told.values():
        if sentence:
            return sentence
    for rank, code in enumerate(codes):
        if code and rank not in told:
            return (
                f"rank {rank} ended with status {code} and no word (killed, or out of memory); "
                "all ranks were ended."
            )
    rank, (_, trace) = next(iter(told.items()))
    print(trace, file=sys.stderr)
    return f"rank {rank} failed ({trace.strip().splitlines()[-1]}); all ranks were ended."


def main(folder: Path) -> None:
    """Run one rank's process."""
    signals_count_once()
    end_at_signals()
    threading.Thread(target=end_with_the_command, daemon=True).start()
    local_rank = int(os.environ["LOCAL_RANK"])
    setup_globals()
    task, config, hydra_config = pickle.loads((folder / "job.pickle").read_bytes())
    HydraConfig.instance().set_config(hydra_config)
    if local_rank == 0 and os.environ["NODE_RANK"] == "0":
        configure_log(hydra_config.hydra.job_logging, hydra_config.hydra.verbose)
    else:
        silence()
    try:
        with signals_first():
            value = task(config)
    except Exception as error:
        told = json.dumps([sentence_of(error, config), traceback.format_exc()])
        (folder / f"error_{local_rank}.json").write_text(told)
        sys.exit(1)
    if local_rank == 0:
        (folder / "value.json").write_text(json.dumps(value))


def end_with_the_command() -> None:
    """End this process when the one that started it is gone, however it went."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def silence() -> None:
    """Silence the warnings of a rank other than 0, which warns for all."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
