"""What a second process gives: steps of one on the whole batch, against two that share it."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Barrier

import torch
from recipes import our_bits
from stepper import RECIPES
from timing import Times, interleaved, ratio
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel
from workload import Workload, stepping

__all__ = ["COLUMNS", "timed_over_ranks"]

COLUMNS = ("recipe", "whole batch ms", "half ms", "two share it ms", "whole / two", "whole / half")
RANKS = 2
STEPS = 3  # of a turn
WHOLE, HALF, TWO = "whole", "half", "two"
CPU = torch.device("cpu")


class Bits(nn.Module):
    """The mean bits/dim of some of a workload's rows, as a module that can be distributed."""

    def __init__(self, work: Workload) -> None:
        super().__init__()
        self.model, self.images = work.model, work.images

    def forward(self, rows: Tensor) -> Tensor:
        return our_bits(self.model, self.images[rows], rows, 1).mean()


def timed_over_ranks(name: str, repeats: int) -> list[str]:
    """A row of :data:`COLUMNS`: milliseconds of steps, and ratios.

    A process takes steps on the whole batch and on half of it, and two others share a batch; they
    take turns. The last ratio is what two processes could give if sharing cost nothing.

    Args:
        name: of :data:`~stepper.RECIPES`.
        repeats: of which medians are taken.
    """
    turns = multiprocessing.get_context("spawn").Barrier(RANKS + 1)
    with tempfile.TemporaryDirectory() as folder:
        arguments = (name, repeats, turns, Path(folder))
        multiprocessing.spawn(take_part, arguments, nprocs=RANKS + 1)
        times: Times = torch.load(Path(folder) / "alone") | torch.load(Path(folder) / "shared")
    medians = (statistics.median(times[run]) / STEPS for run in (WHOLE, HALF, TWO))
    gains = (ratio(times, WHOLE, run) for run in (TWO, HALF))
    return [name, *(f"{each:.1f}" for each in medians), *(f"{gain:.2f}" for gain in gains)]


def take_part(process: int, name: str, repeats: int, turns: Barrier, folder: Path) -> None:
    """Time one process's steps while it is its turn; the last process is alone."""
    torch.set_num_threads(1)
    work = Workload(RECIPES[name], CPU)
    bits = Bits(work)
    take = stepping(work.model, work.recipe)

    def steps(module: nn.Module, rows: Tensor) -> Callable[[], None]:
        def run() -> None:
            for _ in range(STEPS):
                take(module(rows).backward)

        return run

    if process == RANKS:
        half = work.rows[::RANKS]
        runs = {WHOLE: steps(bits, work.rows), HALF: steps(bits, half), TWO: nothing}
    else:
        distributed.init_process_group(
            "gloo", init_method=f"file://{folder / 'group'}", rank=process, world_size=RANKS
        )
        # As conf/trainer/ddp.yaml has it.
        shared = DistributedDataParallel(
            bits, broadcast_buffers=False, gradient_as_bucket_view=True
        )
        runs = {WHOLE: nothing, HALF: nothing, TWO: steps(shared, work.rows[process::RANKS])}
    in_turn: dict[str, Callable[[], object]] = {}
    for run, call in runs.items():
        in_turn |= {f"before {run}": turns.wait, run: call}
    times = interleaved(in_turn, repeats, CPU)
    if process == RANKS:
        torch.save({run: times[run] for run in (WHOLE, HALF)}, folder / "alone")
    elif process == 0:
        torch.save({TWO: times[TWO]}, folder / "shared")


def nothing() -> None:
    """Take no part in a turn."""
