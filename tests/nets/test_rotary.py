"""Rotary positions: what a query and a key tell of their places."""

from __future__ import annotations

from itertools import pairwise

import torch

from attnflow.nets.rotary import RotaryPositions


def test_products_tell_the_offset_of_two_tokens_and_nothing_else() -> None:
    """The same query and key at every token of a grid of 3 rows and 4 columns."""
    positions = RotaryPositions((3, 4), head_width=8).double()
    query, key = torch.randn(2, 1, 1, 1, 8).double().expand(-1, -1, -1, 12, -1)
    every = slice(0, 12)
    products = (positions(query, every) @ positions(key, every).mT).view(3, 4, 3, 4)
    by_offset: dict[tuple[int, int], list[float]] = {}
    for row, column, other_row, other_column in torch.cartesian_prod(
        torch.arange(3), torch.arange(4), torch.arange(3), torch.arange(4)
    ).tolist():
        offset = (row - other_row, column - other_column)
        by_offset.setdefault(offset, []).append(
            float(products[row, column, other_row, other_column])
        )
    assert len(by_offset) == 5 * 7
    for found in by_offset.values():
        assert max(found) - min(found) < 1e-6
    means = sorted(found[0] for found in by_offset.values())
    assert min(b - a for a, b in pairwise(means)) > 1e-5


def test_tokens_at_some_places_are_turned_as_among_all() -> None:
    positions = RotaryPositions((3, 4), head_width=4)
    heads = torch.randn(2, 3, 12, 4)
    turned = positions(heads, slice(0, 12))
    assert torch.equal(positions(heads[:, :, 5:8], slice(5, 8)), turned[:, :, 5:8])
    torch.testing.assert_close(turned.norm(dim=-1), heads.norm(dim=-1))
