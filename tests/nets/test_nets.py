"""Coupling nets: what they read, and that every option does something."""

from __future__ import annotations

import pytest
import torch
from exactness import make_context, randomise
from torch.nn import LayerNorm

from attnflow import AttnFlowError
from attnflow.nets import CausalTransformer, ConvNet, GatedResNet
from attnflow.nets.transformer import ConditionedNorm


@pytest.mark.parametrize("make", [ConvNet, GatedResNet])
def test_nets_start_at_zero_and_read_their_context(make) -> None:
    net = make(3, 6, hidden_channels=16, context_channels=5)
    features = torch.randn(2, 3, 4, 4)
    first, second = (make_context(2, 3, (1, 4, 4)) for _ in range(2))
    net = net.double()
    features = features.double()
    assert torch.equal(net(features, first), torch.zeros(2, 6, 4, 4).double())
    randomise(net)
    assert not torch.allclose(net(features, first), net(features, second))
    with pytest.raises(AttnFlowError, match=r"context: .* got None"):
        net(features)


@pytest.mark.parametrize("make", [ConvNet, GatedResNet])
def test_dropout_acts_in_training_alone(make) -> None:
    net = make(3, 6, hidden_channels=16, dropout=0.5)
    randomise(net)
    features = torch.randn(2, 3, 4, 4)
    assert not torch.equal(net(features), net(features))
    net.eval()
    assert torch.equal(net(features), net(features))


def test_weight_norm_reparametrises_the_blocks() -> None:
    net = GatedResNet(3, 6, hidden_channels=16, weight_norm=True)
    names = [name for name, _ in net.named_parameters()]
    assert sum("parametrizations.weight.original0" in name for name in names) == 4


def test_self_attention_sees_every_position() -> None:
    seen = {}
    for heads in (0, 2):
        net = GatedResNet(1, 1, hidden_channels=8, num_blocks=1, attention_heads=heads)
        randomise(net)
        x = torch.randn(1, 1, 16, 16, requires_grad=True)
        net(x)[0, 0, 0, 0].backward()
        seen[heads] = bool(x.grad[0, 0, 15, 15] != 0)
    assert seen == {0: False, 2: True}


def test_bad_number_of_heads_is_named() -> None:
    with pytest.raises(AttnFlowError, match=r"attention_heads: .* got 3"):
        GatedResNet(1, 1, hidden_channels=16, attention_heads=3)


def test_a_condition_moves_every_norm_of_a_causal_transformer() -> None:
    """Each by itself, under the token's own condition; without one, norms are ordinary."""
    net = CausalTransformer(2, 3, (2, 3), width=8, num_heads=2, context_channels=4).double()
    randomise(net)
    net.condition.weight.data.zero_()  # what is added to the tokens tells nothing
    tokens, condition = torch.randn(2, 6, 2).double(), torch.randn(2, 6, 4).double()
    other = condition.clone()
    other[:, 3] += 1
    norms = [part for part in net.modules() if isinstance(part, ConditionedNorm)]
    assert len(norms) == 3
    for norm in norms:
        moves = [part.moves.weight.clone() for part in norms]
        for part in norms:
            if part is not norm:
                part.moves.weight.data.zero_()
        moved = (net(tokens, condition) - net(tokens, other)).abs().amax((0, 2))
        assert (moved[:3] == 0).all()
        assert moved[3] > 1e-3
        for part, weight in zip(norms, moves, strict=True):
            part.moves.weight.data.copy_(weight)
    for norm in norms:
        torch.testing.assert_close(
            norm(tokens.repeat(1, 1, 4)), LayerNorm.forward(norm, tokens.repeat(1, 1, 4))
        )
