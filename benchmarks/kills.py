"""Kill a short training again and again: does it end with the weights of one that nobody kills?

    python benchmarks/kills.py --signal SIGTERM

A training on the digits is ended by a signal at random moments, whatever it is doing, and started
again with resume=auto; when it has come to its end, another one begins, until all kills are spent.
Every end is compared, bit for bit, with that of a training that ran through: weights, their
average, optimizer and schedule. A signal that saves must lose no step, and have its exit status.
Writes a table to benchmarks/results/; the exit status is 1 where anything differs, is lost, or a
resumed training fails.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import re
import runpy
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tables
import torch
from training_state import TRAINING_STATE, difference

# Imported before the trainings are forked off, so that they start at once.
import attnflow.cli.evaluate
import attnflow.cli.train  # noqa: F401
from attnflow.utils.signals import end_at_signals

ROOT = Path(__file__).parents[1]
TRAINING = (
    "resume=auto",
    "scheduler=warmup_constant",
    "trainer.max_epochs=6",
    "trainer.check_val_every_n_epoch=2",
    "model.steps=2",
    "coupling_net.hidden_channels=16",
    "callbacks.last.every_n_steps=3",
    "callbacks.progress=null",
    "callbacks.summary=null",
)
COLUMNS = (
    "ranks",
    "signal",
    "kills",
    "while writing",
    "trainings",
    "same weights",
    "lost",
    "failed",
)
# What is said once a signal's step is saved.
SAVED = re.compile(r"training ends after step (\d+)")


@dataclass
class Tally:
    """What happened.

    Attributes:
        lost: signals after which ``last.ckpt`` does not hold the step that it should.
    """

    kills: int = 0
    while_writing: int = 0
    trainings: int = 0
    same: int = 0
    lost: int = 0
    failed: list[str] = field(default_factory=list)


def run_training(folder: Path, ranks: int) -> None:
    """In a process of its own: train.py, its output in the folder."""
    log = (folder.parent / f"{folder.name}.log").open("a")
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    trainer = ["trainer=cpu"] if ranks == 1 else ["trainer=ddp_cpu", f"trainer.devices={ranks}"]
    sys.argv = ["train.py", *trainer, *TRAINING, f"hydra.run.dir={folder}"]
    runpy.run_path(str(ROOT / "train.py"), run_name="__main__")


def start(folder: Path, ranks: int) -> multiprocessing.Process:
    # Forked: this process has imported everything, and never computed a gradient.
    process = multiprocessing.get_context("fork").Process(target=run_training, args=(folder, ranks))
    process.start()
    return process


def last(folder: Path) -> dict | None:
    """The newest checkpoint, if there is one yet; it must be loadable."""
    path = folder / "checkpoints" / "last.ckpt"
    return torch.load(path, weights_only=True) if path.exists() else None


def kill_again_and_again(
    folder: Path, kills: int, ranks: int, signum: signal.Signals, dice: random.Random
) -> Tally:
    """Run ``kills`` kills; returns what came of it."""
    started = time.perf_counter()
    process = start(folder / "whole", ranks)
    process.join()
    seconds = time.perf_counter() - started
    whole = last(folder / "whole")
    if process.exitcode or whole is None:
        raise SystemExit((folder / "whole.log").read_text())
    tally = Tally()
    while tally.kills < kills:
        tally.trainings += 1
        survive(folder / str(tally.trainings), whole, tally, kills, ranks, signum, seconds, dice)
    return tally


def survive(
    folder: Path,
    whole: dict,
    tally: Tally,
    kills: int,
    ranks: int,
    signum: signal.Signals,
    seconds: float,
    dice: random.Random,
) -> None:
    """One training to its end, killed at random moments while there are kills left."""
    log = folder.parent / f"{folder.name}.log"
    while True:
        process = start(folder, ranks)
        process.join(dice.uniform(0, seconds) if tally.kills < kills else None)
        if process.exitcode is not None:
            break
        os.kill(process.pid, signum)
        process.join()
        tally.kills += 1
        tally.while_writing += bool(list(folder.glob("checkpoints/*.tmp")))
        step = (last(folder) or {}).get("global_step", 0)
        print(f"{signum.name} {tally.kills} of training {tally.trainings}: at step {step}")
        if process.exitcode == 0:  # it had come to its end
            break
        if process.exitcode != (-9 if signum == signal.SIGKILL else 128 + signum):
            tally.failed.append(log.read_text())
            return
        said = SAVED.findall(log.read_text())
        tally.lost += bool(said) and step < int(said[-1])
    if process.exitcode:
        tally.failed.append(log.read_text())
        return
    end = last(folder)
    tally.same += all(difference(end[part], whole[part]) is None for part in TRAINING_STATE)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--signal", choices=("SIGKILL", "SIGTERM", "SIGINT"), default="SIGKILL")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, default=tables.RESULTS, help="folder of the table")
    options = parser.parse_args(arguments)
    for name in ("kills", "ranks"):
        if getattr(options, name) < 1:
            parser.error(f"{name}: expected 1 or more, got {getattr(options, name)}")
    torch.set_num_threads(1)
    signum = signal.Signals[options.signal]
    if signal.getsignal(signum) is signal.SIG_IGN:  # a shell's job in the background
        signal.signal(signum, signal.SIG_DFL)
    end_at_signals()  # in the trainings too, from their first moment on
    with tempfile.TemporaryDirectory() as folder:
        dice = random.Random(options.seed)
        tally = kill_again_and_again(Path(folder), options.kills, options.ranks, signum, dice)
    tables.RESULTS = options.out
    tables.save_table(
        f"kills_{options.signal.lower()}_{options.ranks}",
        "Trainings killed at random moments, against one that ran through",
        COLUMNS,
        [
            [
                str(value)
                for value in (
                    options.ranks,
                    options.signal,
                    tally.kills,
                    tally.while_writing,
                    tally.trainings,
                    tally.same,
                    tally.lost,
                    len(tally.failed),
                )
            ]
        ],
    )
    for log in tally.failed:
        print(log, file=sys.stderr)
    sys.exit(int(tally.same < tally.trainings or tally.lost > 0))


if __name__ == "__main__":
    main()
