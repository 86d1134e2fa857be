"""Guided transforms: the parameters that are meant, exact, and inverted alike by every solver."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from exactness import assert_exact, make_context, randomise
from torch import Tensor

from attnflow.context import Context, Guidance
from attnflow.nets import CausalTransformer, ConvNet
from attnflow.transforms import (
    ActNorm,
    AffineCoupling,
    Autoregressive,
    MixLogCDFCoupling,
    SpatialCoupling,
    Step,
    Transform,
)
from attnflow.transforms import InvertibleConv1x1 as Conv
from attnflow.transforms.autoregressive import CachedSolver, JacobiSolver, SerialSolver
from attnflow.transforms.maps import (
    AdditiveMap,
    AffineMap,
    ElementwiseMap,
    GaussianMap,
    MixtureCDFMap,
)
from attnflow.transforms.priors import (
    GaussianPrior,
    MultiScaleAutoregressivePrior,
    SplitGaussianPrior,
)

SHAPE = (2, 4, 4)
COUPLING = partial(AffineCoupling, net=partial(ConvNet, hidden_channels=6))
NET = partial(CausalTransformer, width=8, num_heads=2)
WIDTH = {"context_channels": 5}
TRANSFORMS = {
    "actnorm": lambda: ActNorm(2, **WIDTH),
    "actnorm and convolution": lambda: Step(
        {"actnorm": ActNorm(2, **WIDTH), "conv1x1": Conv(2, **WIDTH)}
    ),
    "coupling": lambda: COUPLING(2, **WIDTH),
    "spatial coupling": lambda: SpatialCoupling(2, SHAPE[1:], COUPLING, **WIDTH),
    "mixture coupling": lambda: MixLogCDFCoupling(
        2, 3, net=partial(ConvNet, hidden_channels=6), **WIDTH
    ),
    "gaussian prior": lambda: GaussianPrior(2, **WIDTH),
    "split prior": lambda: SplitGaussianPrior(2, hidden_channels=6, **WIDTH),
    "autoregressive prior": lambda: MultiScaleAutoregressivePrior(2, hidden_channels=4, **WIDTH),
    "transformer": lambda: Autoregressive(2, SHAPE[1:], net=NET, **WIDTH),
    "mixture transformer": lambda: Autoregressive(2, SHAPE[1:], MixtureCDFMap(2), net=NET, **WIDTH),
}


def guided_context(weight: float, ramped: bool = False, batch: int = 2) -> Context:
    """A condition of a vector and a map, to be followed beyond itself."""
    context, without = (make_context(2, 3, SHAPE, batch) for _ in range(2))
    return replace(context, guidance=Guidance(weight, without, ramped))


@pytest.mark.parametrize("ramped", [False, True])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_guided_transforms_are_exact(name, ramped) -> None:
    transform = TRANSFORMS[name]()
    randomise(transform, 0.1)
    # Where many tokens bend one another much, rounding grows from each to the next.
    weight = 1.0 if "mixture" in name else 3.0
    assert_exact(transform, torch.randn(2, *SHAPE), guided_context(weight, ramped))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_guidance_moves_what_reads_the_condition(name) -> None:
    """No weight is the condition itself, and a weight of -1 would be no condition."""
    transform: Transform = TRANSFORMS[name]()
    randomise(transform, 0.1)
    transform.double().eval()
    z = torch.randn(2, *SHAPE).double()
    context = guided_context(1.5)
    plain, guided, without = (
        transform.inverse(z, c)
        for c in (replace(context, guidance=None), context, context.guidance.without)
    )
    assert (guided - plain).abs().amax() > 1e-3
    nowhere = transform.inverse(z, replace(context, guidance=replace(context.guidance, weight=0)))
    torch.testing.assert_close(nowhere, plain, rtol=1e-12, atol=1e-12)
    if name != "actnorm and convolution":  # which mixes channels as the condition says
        back = replace(context, guidance=replace(context.guidance, weight=-1.0))
        torch.testing.assert_close(transform.inverse(z, back), without, rtol=1e-10, atol=1e-10)


def additive(ramped: bool) -> tuple[Tensor, Tensor]:
    """What guidance of weight 2 adds to the shifts of a block's tokens, and cond - uncond."""
    block = Autoregressive(2, SHAPE[1:], AdditiveMap(), net=NET, **WIDTH)
    randomise(block, 0.3)
    block.double().eval()
    context = guided_context(2.0, ramped)
    x = torch.randn(2, *SHAPE).double()
    plain, guided, without = (
        block(x, c)[0].flatten(2)
        for c in (replace(context, guidance=None), context, context.guidance.without)
    )
    return guided - plain, plain - without


def test_every_token_moves_by_the_weight_times_the_difference() -> None:
    added, difference = additive(ramped=False)
    torch.testing.assert_close(added, 2 * difference)


def test_a_ramp_goes_from_nothing_to_the_whole_weight() -> None:
    added, difference = additive(ramped=True)
    ramp = 2 * torch.arange(16).double() / 15
    torch.testing.assert_close(added, ramp * difference)


def moments(map: ElementwiseMap, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log standard deviation of x where z is standard normal, of a map that scales."""
    x = [map.inverse(torch.full(parameters.shape[1:], z), parameters) for z in (-1.0, 1.0)]
    return (x[0] + x[1]) / 2, ((x[1] - x[0]) / 2).log()


@pytest.mark.parametrize("map", [AffineMap(1e3), GaussianMap(1e3)])
def test_where_x_lies_and_how_wide_is_extrapolated(map) -> None:
    """Whichever way the map goes, and with scales far from being bounded."""
    conditional, unconditional = torch.randn(2, 2, 5)
    guided = moments(map, map.beyond(conditional, unconditional, 1.5))
    given, without = moments(map, conditional), moments(map, unconditional)
    for found, cond, uncond in zip(guided, given, without, strict=True):
        torch.testing.assert_close(found, cond + 1.5 * (cond - uncond), rtol=1e-3, atol=1e-3)


def test_a_mixture_and_the_affine_map_of_its_logit_are_extrapolated_apart() -> None:
    conditional, unconditional = torch.randn(2, 8, 5)
    found = MixtureCDFMap(2).beyond(conditional, unconditional, 2.0)
    torch.testing.assert_close(found[2:], (3 * conditional - 2 * unconditional)[2:])
    affine = AffineMap().beyond(conditional[:2], unconditional[:2], 2.0)
    assert torch.equal(found[:2], affine)


@pytest.mark.parametrize("ramped", [False, True])
@pytest.mark.parametrize("solver", [CachedSolver(), JacobiSolver(), JacobiSolver(window=3)])
@pytest.mark.parametrize("map", [None, MixtureCDFMap(2)])
def test_solvers_agree_under_guidance(map, solver, ramped) -> None:
    block = Autoregressive(2, SHAPE[1:], map, net=NET, **WIDTH)
    randomise(block, 0.1)
    block.double().eval()
    z, context = torch.randn(2, *SHAPE).double(), guided_context(3.0, ramped)
    expected = block.solve(z, context, SerialSolver()).tokens
    torch.testing.assert_close(
        block.solve(z, context, solver).tokens, expected, rtol=1e-10, atol=1e-10
    )
