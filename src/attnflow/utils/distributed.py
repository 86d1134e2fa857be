"""Sums over ranks, and their number, for code outside of Lightning."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["all_reduce_max", "all_reduce_sum", "rank", "world_size"]


def _initialised() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def all_reduce_sum(values: Tensor) -> Tensor:
    """The sum of ``values`` over all ranks; ``values`` itself where there is one rank."""
    if not _initialised():
        return values
    total = values.clone()
    torch.distributed.all_reduce(total)
    return total


def all_reduce_max(values: Tensor) -> Tensor:
    """The largest of ``values`` over all ranks; ``values`` itself where there is one rank."""
    if not _initialised():
        return values
    largest = values.clone()
    torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX)
    return largest


def rank() -> int:
    """This process's rank; 0 where there is one."""
    return torch.distributed.get_rank() if _initialised() else 0


def world_size() -> int:
    """The number of ranks; 1 where there is no process group."""
    return torch.distributed.get_world_size() if _initialised() else 1
