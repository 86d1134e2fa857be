"""Bits per dimension, against what can be computed by hand."""

from __future__ import annotations

import math

import torch

from attnflow.models.bits import bits_per_dim
from attnflow.models.dequantization import UniformDequantizer


def test_a_uniform_density_costs_the_log_of_the_levels() -> None:
    log_likelihood = torch.zeros(3)  # density 1 on [0, 1)^D
    expected = torch.full((3,), math.log2(17))
    torch.testing.assert_close(bits_per_dim(log_likelihood, (1, 8, 8), 17), expected)


def test_certainty_costs_nothing() -> None:
    """All mass in the image's bin: density num_bins^D, probability 1."""
    dims = 3 * 4 * 4
    log_likelihood = torch.tensor([dims * math.log(256)], dtype=torch.float64)
    torch.testing.assert_close(
        bits_per_dim(log_likelihood, (3, 4, 4), 256), torch.zeros(1).double()
    )


def test_dequantization_stays_in_the_bin_and_comes_back() -> None:
    dequantizer = UniformDequantizer(17, (1, 8, 8))
    x = torch.randint(17, (64, 1, 8, 8))
    y, log_q = dequantizer(x, torch.rand(64, 1, 8, 8))
    assert y.min() >= 0
    assert y.max() < 1
    assert torch.equal(dequantizer.quantize(y), x)
    assert torch.equal(log_q, torch.zeros(64))
    outside = torch.tensor([-1.0, 2.0, math.nan])
    assert dequantizer.quantize(outside).tolist() == [0, 16, 0]
