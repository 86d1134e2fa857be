"""The mixture of logistics: against a naive reference, and its inverse where it saturates."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from exactness import randomise
from torch.nn import functional as F

from attnflow import AttnFlowError
from attnflow.nets import ConvNet
from attnflow.transforms import MixLogCDFCoupling
from attnflow.transforms.maps import MixtureCDFMap
from attnflow.transforms.maps.mixture import invert_mixture_logit, mixture_logit


def mixture(dtype: torch.dtype = torch.float64, components: int = 5) -> list[torch.Tensor]:
    """Means, log-scales and log-weights of shape (K, 4, 2, 3, 3)."""
    mean, log_scale, logits = torch.randn(3, components, 4, 2, 3, 3, dtype=dtype)
    return [2 * mean, log_scale, logits.log_softmax(0)]


def test_against_the_naive_formula() -> None:
    mean, log_scale, log_weight = mixture()
    x = torch.randn(4, 2, 3, 3, dtype=torch.float64)
    weight = log_weight.exp()
    sigmoid = torch.sigmoid((x - mean) / log_scale.exp())
    cdf = (weight * sigmoid).sum(0)
    pdf = (weight * sigmoid * (1 - sigmoid) / log_scale.exp()).sum(0)
    value, log_derivative = mixture_logit(x, mean, log_scale, log_weight)
    torch.testing.assert_close(value, torch.logit(cdf), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(log_derivative, (pdf / (cdf * (1 - cdf))).log())


def raw_parameters(components: int) -> torch.Tensor:
    """Of the map, (2 + 3 K, 4, 2, 3, 3), whose scales come near their bounds."""
    return 2 * torch.randn(2 + 3 * components, 4, 2, 3, 3, dtype=torch.float64)


def naive_map(x: torch.Tensor, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The map with bounds 3 and 2, by autograd's own functions."""
    shift, raw_affine, *rest = parameters
    mean, raw, logits = torch.stack(rest).chunk(3)
    log_scale, affine = 3 * torch.tanh(raw / 3), 2 * torch.tanh(raw_affine / 2)
    log_weight = logits.log_softmax(0)
    t = (x - mean) / log_scale.exp()
    below, above = F.logsigmoid(t), F.logsigmoid(-t)
    cdf, survival = (log_weight + below).logsumexp(0), (log_weight + above).logsumexp(0)
    density = (log_weight + below + above - log_scale).logsumexp(0)
    return (cdf - survival) * affine.exp() + shift, density - cdf - survival + affine


def test_derivative_against_autograd() -> None:
    x = (30 * torch.randn(4, 2, 3, 3, dtype=torch.float64)).requires_grad_()
    value, log_derivative = MixtureCDFMap(5).forward(x, raw_parameters(5))
    (gradient,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(gradient.log(), log_derivative, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("spread", [1.0, 30.0])
@pytest.mark.parametrize("broadcast", [False, True])
def test_written_out_gradients_are_autograds(spread, broadcast) -> None:
    parameters = raw_parameters(3)[:, :1] if broadcast else raw_parameters(3)
    x = spread * torch.randn(4, 2, 3, 3, dtype=torch.float64)
    inputs = [each.requires_grad_() for each in (x, parameters)]
    upstream = tuple(torch.randn(2, 4, 2, 3, 3, dtype=torch.float64))
    ours, expected = MixtureCDFMap(3).forward(*inputs), naive_map(*inputs)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)
    gradients = (torch.autograd.grad(values, inputs, upstream) for values in (ours, expected))
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_float32_is_float64_up_to_rounding(spread) -> None:
    """Values, log-derivatives and gradients, against the plain form."""
    parameters, x = raw_parameters(4), spread * torch.randn(4, 2, 3, 3, dtype=torch.float64)
    upstream = tuple(torch.randn(2, 4, 2, 3, 3, dtype=torch.float64))
    found = []
    for function, dtype in ((MixtureCDFMap(4).forward, torch.float32), (naive_map, torch.float64)):
        inputs = [each.to(dtype).requires_grad_() for each in (x, parameters)]
        values = function(*inputs)
        given = [each.to(dtype) for each in upstream]
        found.append([*values, *torch.autograd.grad(values, inputs, given)])
    for ours, exact in zip(*found, strict=True):
        assert (ours - exact).abs().max() < 1e-5 * exact.abs().max()


@pytest.mark.parametrize("spread", [1.0, 30.0, 1e3, 1e5])
def test_inverse_in_float32_at_saturated_inputs(spread) -> None:
    parameters = mixture(torch.float32)
    x = spread * torch.randn(4, 2, 3, 3)
    value, log_derivative = mixture_logit(x, *parameters)
    assert torch.isfinite(value).all()
    assert torch.isfinite(log_derivative).all()
    back = invert_mixture_logit(value, *parameters)
    assert ((back - x).abs() <= 1e-4 * (1 + x.abs())).all()


@pytest.mark.parametrize("components", [1, 2, 16])
def test_inverse_to_the_precision_of_float64(components) -> None:
    parameters = mixture(components=components)
    y = 20 * torch.randn(4, 2, 3, 3, dtype=torch.float64)
    back = mixture_logit(invert_mixture_logit(y, *parameters), *parameters)[0]
    torch.testing.assert_close(back, y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("largest", [20.0, 75.0, 90.0, 1e3])
def test_inverse_in_float32_of_large_values_is_float64s(largest) -> None:
    """Sums of probabilities serve below what the type can hold, sums of their logs beyond."""
    parameters = mixture()
    y = torch.linspace(-largest, largest, 72, dtype=torch.float64).view(4, 2, 3, 3)
    expected = invert_mixture_logit(y, *parameters)
    found = invert_mixture_logit(y.float(), *(each.float() for each in parameters))
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)


def test_inverse_takes_few_iterations() -> None:
    """Newton's steps do the work: bisection alone would take 50 or more."""
    parameters = mixture()
    x = torch.randn(4, 2, 3, 3, dtype=torch.float64)
    value, _ = mixture_logit(x, *parameters)
    torch.testing.assert_close(invert_mixture_logit(value, *parameters, max_iterations=30), x)


def test_a_start_saves_iterations_and_changes_nothing() -> None:
    parameters = mixture()
    x = torch.randn(4, 2, 3, 3, dtype=torch.float64)
    value, _ = mixture_logit(x, *parameters)
    for off in (0.0, 1e-6, 1.0, 1e6):
        found = invert_mixture_logit(value, *parameters, start=x + off)
        torch.testing.assert_close(found, x, rtol=1e-12, atol=1e-12)
    near = invert_mixture_logit(value, *parameters, start=x + 1e-6, max_iterations=2)
    torch.testing.assert_close(near, x, rtol=1e-12, atol=1e-12)


def test_coupling_stays_finite_at_extreme_parameters() -> None:
    coupling = MixLogCDFCoupling(4, net=partial(ConvNet, hidden_channels=8))
    randomise(coupling, 10.0)
    z, log_det = coupling(torch.randn(8, 4, 4, 4))
    assert torch.isfinite(z).all()
    assert torch.isfinite(log_det).all()
    assert torch.isfinite(coupling.inverse(z)).all()


def test_components_start_apart() -> None:
    coupling = MixLogCDFCoupling(4, num_components=4)
    assert len(coupling.start[2:6, 0, 0, 0].unique()) == 4


def test_bad_number_of_components_is_named() -> None:
    with pytest.raises(AttnFlowError, match="num_components: expected 1 or more, got 0"):
        MixLogCDFCoupling(4, num_components=0)
