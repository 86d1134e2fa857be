"""Times that can be compared: interleaved repeats, and ratios within a repeat."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

__all__ = ["Times", "interleaved", "ratio"]

# Milliseconds of every repeat, by what ran.
Times = dict[str, list[float]]


def interleaved(
    runs: Mapping[str, Callable[[], object]], repeats: int, device: torch.device, warm_up: int = 2
) -> Times:
    """Time all runs once a repeat, so that other work on the machine slows all of them alike."""
    times: Times = {name: [] for name in runs}
    for repeat in range(warm_up + repeats):
        for name, run in runs.items():
            elapsed = milliseconds(run, device)
            if repeat >= warm_up:
                times[name].append(elapsed)
    return times


def milliseconds(run: Callable[[], object], device: torch.device) -> float:
    """How long one call takes; on a GPU by its own clock."""
    if device.type != "cuda":
        started = time.perf_counter()
        run()
        return 1000 * (time.perf_counter() - started)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def ratio(times: Times, name: str, base: str) -> float:
    """The median over repeats of one run's time over another's in the same repeat."""
    return statistics.median(a / b for a, b in zip(times[name], times[base], strict=True))
