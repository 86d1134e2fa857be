"""Compiled flows: one graph for each step, and the numbers of eager ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from conftest import results
from test_memory import ATTENTIONS, COUPLINGS, PRIOR, SHAPE, assert_close, gradients, same_flows
from torch._dynamo.utils import counters

from attnflow import Flow
from attnflow.compilation import compile_flow

# What there is to trace takes seconds a graph.
SMALL = {"levels": 1, "steps": 1}


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def check_compiled(flow: Flow, reference: Flow, backend: str = "eager") -> None:
    """Graphs without breaks, whose values and gradients are the reference's."""
    keys = list(flow.state_dict())
    compile_flow(flow, backend=backend)
    x = torch.rand(2, *SHAPE)
    assert_close(gradients(flow, x), gradients(reference, x), 1e-5)
    assert counters["stats"]["unique_graphs"] > 0
    assert not counters["graph_break"]
    assert list(flow.state_dict()) == keys


@pytest.mark.parametrize("attention", [name for name in ATTENTIONS if name != "none"])
def test_every_attention_compiles(attention) -> None:
    options = {"attention": ATTENTIONS[attention], "coupling": COUPLINGS["additive"]}
    flows = same_flows(torch.float32, **options, **SMALL)
    check_compiled(flows["none"], flows["checkpoint"])


@pytest.mark.parametrize("coupling", ["affine", "mixlogcdf"])
def test_every_coupling_and_prior_compiles(coupling) -> None:
    flows = same_flows(torch.float32, coupling=COUPLINGS[coupling], prior=PRIOR, **SMALL)
    check_compiled(flows["none"], flows["checkpoint"])


@pytest.mark.parametrize("memory", ["checkpoint", "reversible"])
def test_less_memory_compiles(memory) -> None:
    flows = same_flows(torch.float32, attention=ATTENTIONS["imap"], **SMALL)
    check_compiled(flows[memory], flows["none"])


def test_steps_share_their_graph() -> None:
    counts = []
    for steps in (1, 3):
        torch._dynamo.reset()
        counters.clear()
        flow = same_flows(torch.float32, levels=1, steps=steps)["none"].eval()
        compile_flow(flow, backend="eager")
        with torch.no_grad():
            flow.log_prob(torch.rand(2, *SHAPE))
        counts.append(counters["stats"]["unique_graphs"])
    assert counts[0] == counts[1]


@pytest.mark.slow
def test_machine_code_computes_the_same(train) -> None:
    """By torch's default compiler, through train.py."""
    options = ["debug=fast", "model.levels=1", "model.steps=1", "coupling=affine", "attention=none"]
    eager, compiled = (
        results(train(*options, f"trainer.compile={compile}")) for compile in ("false", "true")
    )
    assert compiled["test/bpd"] == pytest.approx(eager["test/bpd"], abs=1e-3)
    assert counters["stats"]["unique_graphs"] > 0
