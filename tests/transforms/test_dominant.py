"""Strictly diagonally dominant matrices: their log-determinant, its gradient, their inverse."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attnflow.transforms.attention.dominant import LEAF, invert, log_abs_det

SIZES = (1, 5, LEAF, LEAF + 1, 3 * LEAF + 1, 8 * LEAF)


def matrices(size: int, dtype: torch.dtype, largest: float = 0.99) -> Tensor:
    """``I + diag(ratio) S`` of every sign, at the bound of iTrans: (2, 3, size, size)."""
    generator = torch.Generator().manual_seed(size)
    logits = 4 * torch.randn(2, 3, size, size, generator=generator, dtype=dtype)
    signs = torch.randint(0, 2, (2, 3, size, 1), generator=generator, dtype=dtype) * 2 - 1
    return torch.eye(size, dtype=dtype) + largest * signs * logits.softmax(-1)


@pytest.mark.parametrize("size", SIZES)
def test_it_is_that_of_an_lu_with_the_same_gradient(size: int) -> None:
    ours, theirs = (matrices(size, torch.float64).requires_grad_() for _ in range(2))
    found, expected = log_abs_det(ours), torch.linalg.slogdet(theirs).logabsdet
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    weights = torch.randn(2, 3, dtype=torch.float64)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(log_abs_det(ours.detach()), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", SIZES)
def test_float32_loses_no_more_than_an_lu_does(size: int) -> None:
    matrix = matrices(size, torch.float32).flatten(0, 1)
    exact = torch.linalg.inv(matrix.double())
    inverse, log_det = invert(matrix)
    lost, by_lu = ((each - exact).abs().max() for each in (inverse, torch.linalg.inv(matrix)))
    assert lost <= 4 * by_lu + 1e-6
    expected = torch.linalg.slogdet(matrix.double()).logabsdet
    torch.testing.assert_close(log_det.double(), expected, rtol=1e-5, atol=1e-4)


def test_a_transposed_matrix_and_a_slice_will_do() -> None:
    whole = matrices(2 * LEAF + 2, torch.float64)
    for matrix in (whole.mT, whole[..., 1:, 1:]):
        found = log_abs_det(matrix.clone().requires_grad_())
        torch.testing.assert_close(found, torch.linalg.slogdet(matrix).logabsdet)
        inverse, _ = invert(matrix.flatten(0, 1))
        torch.testing.assert_close(inverse, torch.linalg.inv(matrix.flatten(0, 1)))
