"""Elementwise maps: their derivative against autograd, and round trips, for values of any shape."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from attnflow.transforms.maps import (
    AdditiveMap,
    AffineMap,
    ElementwiseMap,
    GaussianMap,
    MixtureCDFMap,
    bounded,
    parameters_first,
)

MAPS = {
    "additive": AdditiveMap(),
    "affine": AffineMap(),
    "affine, wide": AffineMap(largest_log_scale=5.0),
    "gaussian": GaussianMap(),
    "mixture": MixtureCDFMap(num_components=3),
    "mixture of one": MixtureCDFMap(num_components=1),
}
# Of an image's values, and of tokens'.
SHAPES = [(2, 3, 4, 5), (2, 6, 4)]


def parameters_of(each: ElementwiseMap, shape: tuple[int, ...], scale: float = 1.0) -> Tensor:
    """Random parameters around the map's start, float64."""
    parameters = scale * torch.randn(each.num_parameters, *shape, dtype=torch.float64)
    start = each.start()
    if start is not None:
        parameters = parameters + start.view(-1, *[1] * len(shape))
    return parameters


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", MAPS)
def test_derivative_is_autograds(name, shape) -> None:
    parameters = parameters_of(MAPS[name], shape)
    x = torch.randn(shape).double().requires_grad_()
    z, log_derivative = MAPS[name].forward(x, parameters)
    (slope,) = torch.autograd.grad(z.sum(), x)
    assert (slope > 0).all()
    torch.testing.assert_close(log_derivative, slope.log(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", MAPS)
def test_every_value_is_mapped_by_itself(name) -> None:
    parameters = parameters_of(MAPS[name], (2, 3, 4, 5))
    x = torch.randn(2, 3, 4, 5).double()
    changed = x.clone()
    changed[0, 1, 2, 3] += 1
    moved = MAPS[name].forward(changed, parameters)[0] != MAPS[name].forward(x, parameters)[0]
    assert moved.nonzero().tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", MAPS)
def test_round_trips_both_ways(name, shape) -> None:
    each, parameters = MAPS[name], parameters_of(MAPS[name], shape)
    values = torch.randn(shape).double()
    close = {"rtol": 1e-9, "atol": 1e-9}
    z, _ = each.forward(values, parameters)
    torch.testing.assert_close(each.inverse(z, parameters), values, **close)
    x = each.inverse(values, parameters)
    torch.testing.assert_close(each.forward(x, parameters)[0], values, **close)


@pytest.mark.parametrize("name", MAPS)
def test_extreme_parameters_stay_finite_and_bounded_in_both_directions(name) -> None:
    """In float32; far, narrow logistics are flat between them, so x itself may be lost there."""
    each, shape = MAPS[name], (64, 4)
    parameters = parameters_of(each, shape, 100.0).float()
    values = torch.randn(shape)
    z, log_derivative = each.forward(values, parameters)
    x = each.inverse(values, parameters)
    assert all(v.isfinite().all() for v in (z, log_derivative, x))
    if not isinstance(each, MixtureCDFMap):
        torch.testing.assert_close(each.inverse(z, parameters), values, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(each.forward(x, parameters)[0], values, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", MAPS)
def test_maps_ignore_autocast(name) -> None:
    parameters = parameters_of(MAPS[name], (2, 3, 4, 5)).float()
    x = torch.randn(2, 3, 4, 5)
    expected = (*MAPS[name].forward(x, parameters), MAPS[name].inverse(x, parameters))
    with torch.autocast("cpu", torch.bfloat16):
        ours = (*MAPS[name].forward(x, parameters), MAPS[name].inverse(x, parameters))
    for value, reference in zip(ours, expected, strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, reference, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", MAPS)
def test_parameters_of_a_channel_broadcast(name) -> None:
    """One set of parameters for each channel is the same set at every position."""
    each = MAPS[name]
    parameters = parameters_of(each, (1, 3, 1, 1))
    x = torch.randn(2, 3, 4, 5).double()
    everywhere = parameters.expand(-1, 2, 3, 4, 5)
    for ours, expected in zip(
        each.forward(x, parameters), each.forward(x, everywhere), strict=True
    ):
        assert ours.shape == x.shape
        torch.testing.assert_close(ours, expected)


def test_gaussian_map_is_the_density_of_a_gaussian() -> None:
    parameters = parameters_of(GaussianMap(), (5,))
    x = torch.randn(5).double()
    z, log_derivative = GaussianMap().forward(x, parameters)
    density = torch.distributions.Normal(0, 1).log_prob(z) + log_derivative
    std = (3 * torch.tanh(parameters[1] / 3)).exp()
    torch.testing.assert_close(density, torch.distributions.Normal(parameters[0], std).log_prob(x))


def test_bounded_is_a_scaled_tanh() -> None:
    raw = torch.linspace(-50, 50, 1001).double()
    torch.testing.assert_close(bounded(raw, 3.0), 3 * torch.tanh(raw / 3))


@pytest.mark.parametrize(("shape", "dim"), [((2, 12, 4, 5), 1), ((2, 7, 12), -1)])
def test_parameters_come_first(shape, dim) -> None:
    features = torch.randn(shape)
    parameters = parameters_first(features, 3, dim)
    for found, expected in zip(parameters, features.chunk(3, dim), strict=True):
        assert torch.equal(found, expected)
