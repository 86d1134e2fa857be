"""Autoregressive blocks: each token is mapped by what a network reads in the tokens before it."""

from attnflow.transforms.autoregressive.block import Autoregressive
from attnflow.transforms.autoregressive.orders import ORDERS
from attnflow.transforms.autoregressive.solvers import (
    CachedSolver,
    JacobiSolver,
    SerialSolver,
    Solution,
    Solver,
)

__all__ = [
    "ORDERS",
    "Autoregressive",
    "CachedSolver",
    "JacobiSolver",
    "SerialSolver",
    "Solution",
    "Solver",
]
