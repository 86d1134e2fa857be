"""Elementwise maps: their derivative against autograd, and round trips, for values of any shape."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from attnflow import AttnFlowError
from attnflow.transforms.maps import (
    AdditiveMap,
    AffineMap,
    ElementwiseMap,
    GaussianMap,
    GreyLevelsMap,
    MixtureCDFMap,
    bounded,
    parameters_first,
)

MAPS = {
    "additive": AdditiveMap(),
    "affine": AffineMap(),
    "affine, wide": AffineMap(largest_log_scale=5.0),
    "gaussian": GaussianMap(),
    "grey levels": GreyLevelsMap(5, -1.0, 1.0),
    "two grey levels": GreyLevelsMap(2, -0.1, 3.0),
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


def test_grey_levels_have_the_probability_of_their_logits() -> None:
    """Evenly over their width: the density of z times the slope, under a standard normal."""
    each, logits = GreyLevelsMap(4, -2.0, 2.0), torch.tensor([0.0, 2.0, -1.0, 1.0]).double()
    x = torch.linspace(-2, 2, 4001).double()[:-1] + 5e-4
    z, log_derivative = each.forward(x, logits[:, None])
    density = (log_derivative - z**2 / 2 - math.log(2 * math.pi) / 2).exp()
    expected = (0.99 * logits.softmax(0) + 0.01 / 4).repeat_interleave(1000)
    torch.testing.assert_close(density, expected, rtol=1e-4, atol=1e-6)
    assert (density.view(4, -1).std(1) < 1e-12).all()
    assert abs(float(density.mean()) * 4 - 1) < 1e-4


def test_grey_levels_go_on_beyond_their_ends() -> None:
    each, logits = GreyLevelsMap(3), torch.randn(3, 1).double()
    x = torch.tensor([-1e3, -1e-9, 0.0, 1.0, 1 + 1e-9, 1e3]).double()
    z, _ = each.forward(x, logits)
    assert (z.diff() >= 0).all()
    torch.testing.assert_close(z[[0, 5]], torch.tensor([-1004.0, 1003.0]).double())
    torch.testing.assert_close(each.inverse(z, logits), x)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"levels": 1}, "levels: expected a whole number of 2 or more, got 1."),
        ({"levels": 2, "high": 0.0}, "high: expected more than low, 0.0, got 0.0."),
    ],
)
def test_grey_levels_refuse_what_is_no_range(options, sentence) -> None:
    with pytest.raises(AttnFlowError, match=sentence):
        GreyLevelsMap(**options)


@pytest.mark.parametrize("name", MAPS)
def test_steps_lead_to_the_inverse_and_stay_there(name) -> None:
    """From anywhere; a step is the inverse itself unless that is searched for."""
    each, parameters = MAPS[name], parameters_of(MAPS[name], SHAPES[1])
    expected = torch.randn(SHAPES[1]).double()
    z, _ = each.forward(expected, parameters)
    x = expected + 10 * torch.randn_like(expected)
    for _ in range(50 if name.startswith("mixture") else 1):
        x = each.towards_inverse(z, parameters, x)
    torch.testing.assert_close(x, each.inverse(z, parameters), rtol=1e-12, atol=1e-12)
    again = each.towards_inverse(z, parameters, x)
    torch.testing.assert_close(again, x, rtol=1e-13, atol=1e-13)
