"""Splits that a data set names, and those that are cut from its training rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from attnflow.data.base import SPLITS
from attnflow.data.splits import share
from attnflow.errors import AttnFlowError

__all__ = ["NamedSplits", "check_splits", "rows_of"]

# The data set's split for each of ours; None for none.
NamedSplits = dict[str, str | None]
DEFAULT: NamedSplits = {"train": "train", "val": None, "test": "test"}
CUT = 0.1  # share of the training rows that each split without rows of its own gets
FEWEST = 10  # rows that are cut


def check_splits(splits: Mapping[str, str | None] | None) -> NamedSplits:
    """The data set's split for each of train, val and test.

    Raises:
        AttnFlowError: what names no splits, or one twice.
    """
    if splits is None:
        return dict(DEFAULT)
    if not isinstance(splits, Mapping) or not splits.keys() <= set(SPLITS):
        raise AttnFlowError(
            f"data.splits: expected a name or null for each of {', '.join(SPLITS)}, got {splits!r}."
        )
    named = {split: splits.get(split) for split in SPLITS}
    given = [name for name in named.values() if name is not None]
    for name in given:
        if not isinstance(name, str) or not name:
            raise AttnFlowError(f"data.splits: expected names of splits or null, got {name!r}.")
        if given.count(name) > 1:
            raise AttnFlowError(f"data.splits: expected a split for each, got {name!r} twice.")
    if not given:
        raise AttnFlowError("data.splits: expected the name of one split or more, got none.")
    return named


def rows_of(split: str, named: NamedSplits, number: int, origin: str) -> np.ndarray:
    """The rows of a split among those that it has, or is cut from: (N,), in their order.

    Training rows are shuffled once with seed 0; a tenth of them is each split's that has none of
    its own.

    Args:
        split: train, val or test.
        named: which of them the data set has.
        number: of rows, of the split or of those that it is cut from.
        origin: of the training rows, for the message.

    Raises:
        AttnFlowError: too few rows to cut.
    """
    cut = [each for each in SPLITS if named[each] is None]
    if not cut or split not in ("train", *cut):
        return np.arange(number)
    if number < FEWEST:
        raise AttnFlowError(
            f"{origin}: expected {FEWEST} rows or more to cut {' and '.join(cut)} from, got "
            f"{number}."
        )
    bounds = [1 - CUT * left for left in range(len(cut), -1, -1)]
    shares = {"train": (0.0, bounds[0])}
    shares |= {each: (bounds[n], bounds[n + 1]) for n, each in enumerate(cut)}
    first, last = share(number, shares, split)
    return np.sort(np.random.default_rng(0).permutation(number)[first:last])
