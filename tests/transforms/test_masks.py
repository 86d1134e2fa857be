"""What all masked transforms do: read one half, refuse other shapes; and attention couplings."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from exactness import randomise

from attnflow import AttnFlowError
from attnflow.transforms import AttentionCoupling, AttentionSequence, IMap, ITrans, Squeeze
from attnflow.transforms.attention.masks import MASKS, attention_mask


def test_channel_mask_is_its_definition() -> None:
    for parity in (0, 1):
        mask = attention_mask("channel", parity, (5, 2, 3))
        for c in range(5):
            assert (mask[c] == ((c < 2) != bool(parity))).all()


@pytest.mark.parametrize("mask", MASKS)
def test_a_transform_that_served_inference_serves_training(mask) -> None:
    attention = IMap(2, (11, 13), mask=mask)
    x = torch.randn(1, 2, 11, 13)
    with torch.inference_mode():
        attention(x)
    z, log_det = attention(x)
    (z.sum() + log_det.sum()).backward()
    assert all(p.grad is not None for p in attention.parameters())


@pytest.mark.parametrize("shape", [(2, 4, 1), (2, 1, 1), (4, 4, 4), (1, 4, 4), (2, 8, 8)])
@pytest.mark.parametrize("make", [IMap, AttentionCoupling, partial(ITrans, patch_size=1)])
def test_feature_maps_of_another_shape_are_named(make, shape) -> None:
    """Also those that would broadcast."""
    attention = make(2, (4, 4))
    sizes = " x ".join(map(str, shape))
    for run in (attention, attention.inverse):
        with pytest.raises(AttnFlowError, match=f"x: expected a batch of 2 x 4 x 4 .* got {sizes}"):
            run(torch.randn(1, *shape))


def test_an_attention_coupling_leaves_one_half_and_reads_it_alone() -> None:
    attention = AttentionCoupling(2, (4, 6), mask="coarse").double()
    randomise(attention)
    x = torch.randn(2, 2, 4, 6).double()
    z, log_det = attention(x)
    assert torch.equal(log_det, torch.zeros(2).double())
    assert torch.equal(z[:, attention.mask], x[:, attention.mask])
    other = torch.where(attention.mask, x, torch.randn_like(x))
    torch.testing.assert_close(attention(other)[0] - other, z - x)
    assert (z - x)[:, ~attention.mask].abs().min() > 0


def test_an_attention_coupling_starts_as_the_identity() -> None:
    x = torch.randn(2, 2, 4, 6)
    assert torch.equal(AttentionCoupling(2, (4, 6))(x)[0], x)


@pytest.mark.parametrize("attentions", [{}, None, [IMap]])
def test_a_sequence_of_nothing_is_named(attentions) -> None:
    with pytest.raises(AttnFlowError, match=r"attentions: expected one or more by name, got"):
        AttentionSequence(2, (4, 4), attentions)


def test_what_makes_no_attention_is_named() -> None:
    with pytest.raises(AttnFlowError, match=r"attentions\.first: expected what can be called"):
        AttentionSequence(2, (4, 4), {"first": Squeeze})
    with pytest.raises(AttnFlowError, match=r"attentions\.second: expected an object of"):
        AttentionSequence(2, (4, 4), {"first": IMap, "second": lambda *args, **kwargs: 3})
