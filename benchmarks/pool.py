"""Trainings in processes of their own, several at a time: each counts its own CPU seconds."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

__all__ = ["each"]

Job = TypeVar("Job")
Result = TypeVar("Result")


def each(
    run: Callable[[Job], Result], jobs: Sequence[Job], processes: int
) -> Iterator[tuple[Job, Result]]:
    """Every job with its result, in order; ``run`` is a function of a module."""
    # A forked process could not run autograd after this one has.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn) as pool:
        yield from zip(jobs, pool.map(run, jobs), strict=True)
