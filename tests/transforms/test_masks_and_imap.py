"""Masks against their definition, and what iMap's map sees."""

from __future__ import annotations

import pytest
import torch
from exactness import randomise

from attnflow import AttnFlowError
from attnflow.transforms import ActNorm, IMap
from attnflow.transforms.attention.imap import LOWEST_LOG_WEIGHT, bounded_logsigmoid
from attnflow.transforms.attention.masks import MASKS, attention_mask


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 3, 3), (1, 2, 7)])
@pytest.mark.parametrize("parity", [0, 1])
def test_checkerboard_is_its_definition(shape, parity) -> None:
    mask = attention_mask("checkerboard", parity, shape)
    spatial = attention_mask("spatial", parity, shape)
    for c in range(shape[0]):
        for i in range(shape[1]):
            for j in range(shape[2]):
                assert mask[c, i, j] == (c + i + j + parity) % 2
                assert spatial[c, i, j] == (i + j + parity) % 2


@pytest.mark.parametrize("mask", MASKS)
def test_parities_are_complements(mask) -> None:
    even, odd = (attention_mask(mask, parity, (4, 6, 6)) for parity in (0, 1))
    assert torch.equal(even, ~odd)
    assert even.float().mean() == 0.5


@pytest.mark.parametrize(
    ("mask", "shape"), [("channel", (1, 4, 4)), ("spatial", (4, 1, 1)), ("checkerboard", (1, 1, 1))]
)
def test_masks_that_leave_nothing_are_named(mask, shape) -> None:
    with pytest.raises(AttnFlowError, match=" x ".join(map(str, shape))):
        attention_mask(mask, 0, shape)
    with pytest.raises(AttnFlowError, match=mask):
        IMap(shape[0], shape[1:], mask=mask)


def test_imap_starts_near_the_identity() -> None:
    attention = IMap(4, (6, 6))
    with torch.no_grad():
        attention.map.weight.zero_()
    x = torch.randn(2, 4, 6, 6)
    assert (attention(x)[0] / x - 1).abs().max() < 0.06


def test_imap_weights_are_bounded_below() -> None:
    logit = torch.linspace(-1e4, 1e4, 1001)
    values = bounded_logsigmoid(logit)
    assert values.min() >= LOWEST_LOG_WEIGHT
    assert values.max() <= 0
    near = torch.linspace(0, 5, 10)
    torch.testing.assert_close(
        bounded_logsigmoid(near), torch.nn.functional.logsigmoid(near), rtol=2e-2, atol=0
    )


def test_imap_round_trips_in_float32_at_extreme_parameters() -> None:
    attention = IMap(4, (6, 6), kernel_size=3, global_context=True)
    randomise(attention, 100.0)
    x = torch.randn(8, 4, 6, 6)
    z, log_det = attention(x)
    assert torch.isfinite(log_det).all()
    torch.testing.assert_close(attention.inverse(z), x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "reach"),
    [({}, 0), ({"kernel_size": 3}, 1), ({"kernel_size": 5}, 2), ({"global_context": True}, 9)],
    ids=str,
)
def test_how_far_the_map_sees(options, reach) -> None:
    attention = IMap(2, (9, 9), **options).double()
    randomise(attention)
    x = torch.randn(1, 2, 9, 9).double().requires_grad_()
    attention.attention_map(x)[0, 0, 4, 4].backward()
    seen = x.grad[0].abs().sum(0).nonzero()
    distance = (seen - 4).abs().max()
    assert distance == (4 if reach == 9 else reach)


@pytest.mark.parametrize("size", [0, 2, -1])
def test_even_kernels_are_named(size) -> None:
    with pytest.raises(AttnFlowError, match=f"kernel_size: .* got {size}"):
        IMap(4, (6, 6), kernel_size=size)


def test_actnorm_initialises_to_unit_variance() -> None:
    norm = ActNorm(3)
    x = torch.tensor([5.0, 0.1, 100.0])[:, None, None] * torch.randn(64, 3, 8, 8) + 7
    z = norm.initialize(x)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.var((0, 2, 3), unbiased=False), torch.ones(3), atol=1e-3, rtol=0)


def test_actnorm_survives_a_constant_channel() -> None:
    norm = ActNorm(1)
    norm.initialize(torch.zeros(4, 1, 2, 2))
    assert torch.isfinite(norm.log_scale).all()
    assert norm.log_scale.exp().item() < 1001
