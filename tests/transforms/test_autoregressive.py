"""Autoregressive blocks: exact, triangular, and inverted alike by every solver."""

from __future__ import annotations

import logging
import re
from functools import partial
from itertools import cycle

import pytest
import torch
from exactness import assert_exact, assert_runs_on_meta, make_context, randomise

from attnflow.errors import AttnFlowError
from attnflow.nets import CausalTransformer
from attnflow.transforms import Autoregressive
from attnflow.transforms.autoregressive import (
    ORDERS,
    CachedSolver,
    JacobiSolver,
    SerialSolver,
)
from attnflow.transforms.maps import (
    AdditiveMap,
    AffineMap,
    GaussianMap,
    GreyLevelsMap,
    MixtureCDFMap,
)

MAPS = {
    "additive": AdditiveMap(),
    "affine": AffineMap(),
    "gaussian": GaussianMap(),
    "grey_levels": GreyLevelsMap(4, -2.0, 2.0),
    "mixture_cdf": MixtureCDFMap(3),
}
NET = partial(CausalTransformer, width=8, depth=2, num_heads=2, rotary=True)
# A square, a wide and a tall image, two tokens, a single channel.
SHAPES = [(3, 2, 2), (2, 2, 3), (2, 3, 2), (4, 1, 2), (1, 2, 2)]
SOLVERS = {
    "cached": CachedSolver(),
    "jacobi": JacobiSolver(),
    "window": JacobiSolver(window=5),
    "wider than all tokens": JacobiSolver(window=100),
}


def block_of(
    map: str = "affine", shape: tuple[int, int, int] = (3, 4, 4), context: int = 0, **options
) -> Autoregressive:
    channels, *size = shape
    options = {"net": NET, "context_channels": context} | options
    block = Autoregressive(channels, size, MAPS[map], **options)
    randomise(block, 0.1 if map == "mixture_cdf" else 0.3)
    return block.eval()


@pytest.mark.parametrize(
    ("map", "shape", "order"),
    [(map, *place) for map in MAPS for place in zip(SHAPES, cycle(ORDERS), strict=False)],
)
@pytest.mark.parametrize(("vector", "maps"), [(0, 0), (3, 0), (2, 3)])
def test_block_is_exact(map, shape, order, vector, maps) -> None:
    block = block_of(map, shape, vector + maps, order=order)
    assert_exact(block, torch.randn(2, *shape), make_context(vector, maps, shape))


@pytest.mark.parametrize("order", ORDERS)
def test_a_token_reads_those_before_it_alone(order) -> None:
    """The first reads none, and each later one does read."""
    block = block_of(order=order).double()
    x = torch.randn(1, 3, 4, 4).double()
    jacobian = torch.autograd.functional.jacobian(lambda v: block(v)[0], x)
    reads = jacobian.abs().amax((0, 1, 4, 5)).flatten(2).flatten(0, 1) > 0  # (token, token)
    reads = reads[block.order][:, block.order]
    assert torch.equal(reads, torch.ones(16, 16, dtype=torch.bool).tril())


def test_the_first_token_is_moved_too() -> None:
    """By what a learned start token says."""
    block = block_of()
    x = torch.randn(2, 3, 4, 4)
    assert ((block(x)[0] - x)[..., 0, 0].abs() > 1e-4).all()


@pytest.mark.parametrize(
    ("dtype", "tolerance", "spread"), [(torch.float64, 1e-10, 0.3), (torch.float32, 1e-5, 0.1)]
)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("map", MAPS)
@pytest.mark.parametrize("context", [0, 5])
def test_solvers_agree_with_the_serial_inverse(
    map, solver, dtype, tolerance, spread, context
) -> None:
    """In float32 with weights that do not blow roundings up, which differ between processors."""
    block = block_of(map, (3, 4, 4), context).to(dtype)
    randomise(block, min(spread, 0.1) if map == "mixture_cdf" else spread)
    z = torch.randn(2, 3, 4, 4).to(dtype)
    condition = make_context(2, 3, (3, 4, 4)) if context else None
    if condition:
        condition = type(condition)(
            condition.vector.to(dtype), tuple(m.to(dtype) for m in condition.maps)
        )
    expected = block.solve(z, condition, SerialSolver()).tokens
    found = block.solve(z, condition, SOLVERS[solver])
    torch.testing.assert_close(found.tokens, expected, rtol=tolerance, atol=tolerance)
    assert found.residual <= 10 * tolerance


def test_jacobi_needs_few_sweeps_and_says_what_is_left() -> None:
    """Where tokens read little of one another."""
    block = block_of().double()
    with torch.no_grad():
        block.net.out.weight.mul_(0.1)
    z = torch.randn(2, 3, 4, 4).double()
    exact = block.solve(z, None, SerialSolver())
    rough, fine = (block.solve(z, None, JacobiSolver(tolerance=t)) for t in (1e-2, 1e-8))
    assert 1 < rough.sweeps < fine.sweeps < exact.sweeps == 16
    assert 1e-8 < rough.residual <= 1e-1
    assert 0 < fine.residual <= 1e-7
    assert (fine.tokens - exact.tokens).abs().max() < 1e-7


def test_jacobi_that_does_not_settle_falls_back_and_says_so(caplog) -> None:
    block = block_of().double()
    z = torch.randn(2, 3, 4, 4).double()
    with caplog.at_level(logging.WARNING):
        found = block.solve(z, None, JacobiSolver(max_sweeps=1))
    (line,) = caplog.messages
    assert "1 Jacobi sweeps left 15 of 16 tokens above the tolerance" in line
    assert "one after the other instead" in line
    torch.testing.assert_close(found.tokens, block.solve(z, None, SerialSolver()).tokens)


def test_no_state_is_left_in_the_module() -> None:
    block = block_of()
    before = {name for name, _ in block.named_buffers()}
    keys = set(vars(block.net)) | set(vars(block))
    block.inverse(torch.randn(2, 3, 4, 4))
    assert {name for name, _ in block.named_buffers()} == before
    assert set(vars(block.net)) | set(vars(block)) == keys


def test_half_precision_of_the_net_leaves_the_map_in_full() -> None:
    """A round trip under autocast: the same parameters both ways."""
    block = block_of("mixture_cdf")
    x = torch.randn(2, 3, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        z, log_det = block(x)
        assert z.dtype == log_det.dtype == torch.float32


@pytest.mark.parametrize(("vector", "maps"), [(0, 0), (3, 0), (2, 3)])
@pytest.mark.parametrize("map", MAPS)
def test_block_runs_on_the_meta_device(map, vector, maps) -> None:
    with torch.device("meta"):
        block = block_of(map, context=vector + maps).double()
        context = make_context(vector, maps, (3, 4, 4))
        x = torch.randn(2, 3, 4, 4).double()
        assert_runs_on_meta(block, x, context, inverts=map != "mixture_cdf")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"order": "spiral"},
            "order: expected one of raster, reversed, columns, columns_reversed, got 'spiral'.",
        ),
        (
            {"net": partial(NET, num_heads=3)},
            "num_heads: expected a divisor of the width, 8, got 3.",
        ),
        (
            {"net": partial(NET, width=12)},
            "width: expected a multiple of 4 in each head, where positions are rotary, got "
            "'6 in each'.",
        ),
        ({"net": partial(NET, depth=0)}, "depth: expected a whole number of 1 or more, got 0."),
        (
            {"net": partial(NET, dropout=1.0)},
            "dropout: expected a share from 0 to below 1, got 1.0.",
        ),
    ],
)
def test_what_does_not_fit_is_refused(options, sentence) -> None:
    with pytest.raises(AttnFlowError, match=re.escape(sentence)):
        block_of(**options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"tolerance": -1.0}, "tolerance: expected 0 or more, or null, got -1.0."),
        ({"max_sweeps": 0}, "max_sweeps: expected a whole number of 1 or more, got 0."),
        ({"window": 0}, "window: expected a whole number of 1 or more, got 0."),
    ],
)
def test_a_solver_refuses_what_is_no_number_of_sweeps(options, sentence) -> None:
    with pytest.raises(AttnFlowError, match=re.escape(sentence)):
        JacobiSolver(**options)
