"""Orders of tokens: which ones come before which."""

from __future__ import annotations

import torch
from torch import Tensor

from attnflow.errors import check_choice

__all__ = ["ORDERS", "token_order"]

ORDERS = ("raster", "reversed", "columns", "columns_reversed")


def token_order(name: str, height: int, width: int) -> Tensor:
    """The numbers of the tokens of an H x W grid, in an order: int64 (H W,).

    Args:
        name: ``raster`` (row by row), ``columns`` (column by column), or either ``reversed``.
        height, width: of the grid, whose tokens are numbered row by row.

    Raises:
        ArgumentError: another name.
    """
    check_choice("order", name, ORDERS)
    numbers = torch.arange(height * width).view(height, width)
    order = (numbers.T if name.startswith("columns") else numbers).flatten()
    return order.flip(0) if name.endswith("reversed") else order
