"""Checkpointed and reversible training: the same gradients from less memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from conftest import results
from flow_kinds import (
    ATTENTIONS,
    COUPLINGS,
    ITRANS,
    PRIOR,
    SHAPE,
    assert_close,
    condition,
    gradients,
    largest_error,
    same_flows,
)
from torch import Tensor, nn

from attnflow import AttnFlowError, Glow
from attnflow.flows.memory import MEMORY
from attnflow.transforms import IMap


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_gradients_are_the_ordinary_ones(attention, coupling) -> None:
    """With dropout, with and without a condition, to 1e-10 in float64."""
    for context_channels in (0, 5):
        flows = same_flows(
            torch.float64,
            attention=ATTENTIONS[attention],
            coupling=COUPLINGS[coupling],
            context_channels=context_channels,
        )
        x = torch.rand(3, *SHAPE).double()
        conditions = condition(torch.float64) if context_channels else None
        reference = gradients(flows["none"], x, conditions)
        assert sum(grad.norm() > 0 for grad in reference.values()) > 10
        for memory in ("checkpoint", "reversible"):
            assert_close(gradients(flows[memory], x, conditions), reference, 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(("coupling", "steps"), [("affine", 16), ("mixlogcdf", 6)])
def test_gradients_of_a_trained_flow_in_float32(coupling, steps) -> None:
    """To 1e-4, at the start and after the weights have moved, in most of three flows.

    What is near zero as large numbers cancel can be off by more in one of them.
    """
    errors = [float32_error(coupling, steps, seed) for seed in range(3)]
    assert sorted(errors)[1] <= 1e-4, errors


def float32_error(coupling: str, steps: int, seed: int) -> float:
    """The largest error of a flow's gradients, before and after training."""
    torch.manual_seed(seed)
    options = {"levels": 1, "steps": steps, "coupling": COUPLINGS[coupling]}
    flows = {memory: Glow(SHAPE, attention=ITRANS, memory=memory, **options) for memory in MEMORY}
    flow = flows["none"]
    flow.initialize(torch.rand(64, *SHAPE))
    optimizer = torch.optim.Adam(flow.parameters(), 2e-3)
    errors = []
    for _ in range(2):
        x = torch.rand(16, *SHAPE)
        reference = gradients(flow, x)
        for memory in ("checkpoint", "reversible"):
            flows[memory].load_state_dict(flow.state_dict())
            errors.append(largest_error(gradients(flows[memory], x), reference)[0])
        for _ in range(10):
            optimizer.zero_grad()
            (-flow.log_prob(torch.rand(16, *SHAPE).sqrt()).mean()).backward()
            optimizer.step()
    return max(errors)


def test_gradients_in_mixed_precision() -> None:
    """No gradient is lost to the half-precision copies of weights; it differs by their rounding."""
    flows = same_flows(torch.float32, attention=ATTENTIONS["reading"], context_channels=5)
    x, conditions = torch.rand(3, *SHAPE), condition(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        reference = gradients(flows["none"], x, conditions)
        for memory in ("checkpoint", "reversible"):
            ours = gradients(flows[memory], x, conditions)
            assert_close(ours, reference, 0.05)
            for name, grad in reference.items():
                assert (ours[name].norm() > 0) == (grad.norm() > 0), name


def test_some_parameters_may_be_frozen() -> None:
    flow = same_flows(torch.float64, attention=IMap)["reversible"]
    frozen = flow.levels[0].transforms.step_0.requires_grad_(False)
    flow.log_prob(torch.rand(2, *SHAPE).double()).mean().backward()
    assert all(parameter.grad is None for parameter in frozen.parameters())
    assert all(p.grad is not None for p in flow.levels[0].transforms.step_1.parameters())


class LogProb(nn.Module):
    """What DDP wraps: a module whose forward is the loss."""

    def __init__(self, flow: Glow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, x: Tensor) -> Tensor:
        return -self.flow.log_prob(x).mean()


@pytest.fixture
def one_rank() -> Iterator[None]:
    """A process group of this process alone: DDP with all its hooks."""
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("memory", ["checkpoint", "reversible"])
def test_ddp_reduces_every_gradient(one_rank, memory) -> None:
    """Without a search for unused parameters, which would tell of hooks that did not fire."""
    flows = same_flows(torch.float64, attention=ATTENTIONS["dense"], prior=PRIOR)
    replica = nn.parallel.DistributedDataParallel(LogProb(flows[memory]))
    for _ in range(3):
        x = torch.rand(2, *SHAPE).double()
        reference = gradients(flows["none"], x)
        replica.zero_grad()
        torch.manual_seed(7)
        replica(x).backward()
        for name, parameter in flows[memory].named_parameters():
            torch.testing.assert_close(parameter.grad, reference[name], rtol=1e-8, atol=1e-12)


def test_training_is_the_same_and_checkpoints_are_interchangeable(train) -> None:
    """With averaged weights, dropout, a condition and a learned dequantization."""
    options = ["conditioning=class", "dequantization=variational", "attention=itrans"]
    options += ["trainer.max_epochs=1"]
    ordinary, reversible = (
        train(*options, f"model.memory={memory}") for memory in ("none", "reversible")
    )
    for name in ("val/bpd", "test/bpd"):
        assert results(reversible)[name] == pytest.approx(results(ordinary)[name], abs=1e-4)
    checkpoint = reversible / "checkpoints" / "last.ckpt"
    more = ["model.memory=checkpoint", f"resume={checkpoint}", "trainer.max_epochs=2"]
    assert results(train(*options, *more))["steps"] == 6


def test_an_unknown_way_is_named() -> None:
    with pytest.raises(
        AttnFlowError, match="memory: expected one of none, checkpoint, reversible, got 'little'"
    ):
        Glow(SHAPE, memory="little")
