"""Counter-based noise: uniform, and a function of the sample alone."""

from __future__ import annotations

import torch

from attnflow.utils.noise import normal_noise, sample_keys, uniform_noise


def draw(n: int = 2000, seed: int = 0, epoch: int = 0) -> torch.Tensor:
    return uniform_noise(sample_keys(seed, epoch, torch.arange(n)), (1, 8, 8))


def test_uniform_in_the_unit_interval() -> None:
    values = draw().flatten().sort().values
    assert values.min() >= 0
    assert values.max() < 1
    # Kolmogorov-Smirnov: the 99.9% quantile of sqrt(n) D is 1.95.
    ranks = (torch.arange(len(values)) + 0.5) / len(values)
    assert (values - ranks).abs().max() * len(values) ** 0.5 < 1.95


def test_normal_noise_is_normal() -> None:
    keys = sample_keys(0, 0, torch.arange(2000))
    noise = normal_noise(keys, (1, 8, 8), torch.float64)
    values = torch.special.ndtr(noise).flatten().sort().values
    ranks = (torch.arange(len(values)) + 0.5) / len(values)
    assert (values - ranks).abs().max() * len(values) ** 0.5 < 1.95
    flat = noise.flatten(1)
    for a, b in [(flat[:, :-1], flat[:, 1:]), (flat[:-1], flat[1:])]:
        assert (a * b).mean().abs() < 4 / a.numel() ** 0.5
    torch.testing.assert_close(normal_noise(keys, (1, 8, 8)).double(), noise, rtol=1e-3, atol=1e-4)
    assert torch.equal(normal_noise(keys[[7, 2]], (1, 8, 8), torch.float64), noise[[7, 2]])


def test_neighbours_are_uncorrelated() -> None:
    values = draw().flatten(1) - 0.5
    for a, b in [
        (values[:, :-1], values[:, 1:]),
        (values[:-1], values[1:]),
        (values, draw(epoch=1).flatten(1) - 0.5),
        (values, draw(seed=1).flatten(1) - 0.5),
    ]:
        correlation = (a * b).mean() * 12
        assert correlation.abs() < 4 / a.numel() ** 0.5


def test_depends_on_the_sample_not_on_the_batch() -> None:
    whole = draw(10)
    rows = torch.tensor([7, 2])
    part = uniform_noise(sample_keys(0, 0, rows), (1, 8, 8))
    torch.testing.assert_close(part, whole[rows], rtol=0, atol=0)
    assert not torch.equal(draw(10, epoch=1), whole)
    assert not torch.equal(draw(10, seed=1), whole)


def test_keys_do_not_collide() -> None:
    keys = torch.cat([sample_keys(0, epoch, torch.arange(20_000)) for epoch in range(-1, 3)])
    # 80,000 random 32-bit words share about 0.7 values.
    assert len(keys.unique()) > len(keys) - 10
