"""Compiled flows: one graph for each step, and the numbers of eager ones."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from conftest import results
from flow_kinds import ATTENTIONS, COUPLINGS, PRIOR, SHAPE, assert_close, gradients, same_flows
from torch._dynamo.utils import counters

from attnflow import Glow
from attnflow.flows.compilation import compile_flow

# What there is to trace takes seconds a graph.
SMALL = {"levels": 1, "steps": 1}


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def check_compiled(flow: Glow, reference: Glow, backend: str = "eager") -> None:
    """Graphs without breaks, whose values and gradients are the reference's."""
    keys = list(flow.state_dict())
    compile_flow(flow, backend=backend)
    x = torch.rand(2, *SHAPE)
    assert_close(gradients(flow, x), gradients(reference, x), 1e-5)
    assert counters["stats"]["unique_graphs"] > 0
    assert not counters["graph_break"]
    assert list(flow.state_dict()) == keys


@pytest.mark.slow
@pytest.mark.parametrize("attention", [name for name in ATTENTIONS if name != "none"])
def test_every_attention_compiles(attention) -> None:
    options = {"attention": ATTENTIONS[attention], "coupling": COUPLINGS["additive"]}
    flows = same_flows(torch.float32, **options, **SMALL)
    check_compiled(flows["none"], flows["checkpoint"])


@pytest.mark.slow
@pytest.mark.parametrize("coupling", ["affine", "mixlogcdf"])
def test_every_coupling_and_prior_compiles(coupling) -> None:
    flows = same_flows(torch.float32, coupling=COUPLINGS[coupling], prior=PRIOR, **SMALL)
    check_compiled(flows["none"], flows["checkpoint"])


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["checkpoint", "reversible"])
def test_less_memory_compiles(memory) -> None:
    flows = same_flows(torch.float32, attention=ATTENTIONS["imap"], **SMALL)
    check_compiled(flows[memory], flows["none"])


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["imap", "causal"])
def test_levels_and_batches_of_all_sizes_compile(attention) -> None:
    options = {"attention": ATTENTIONS[attention], "coupling": COUPLINGS["additive"]}
    flow = same_flows(torch.float32, **options, levels=2, steps=1)["none"].eval()
    x = torch.rand(4, *SHAPE)
    with torch.no_grad():
        expected = flow.log_prob(x)
        compile_flow(flow, backend="eager")
        for size in (4, 3, 2):
            torch.testing.assert_close(flow.log_prob(x[:size]), expected[:size])


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
def test_machine_code_computes_the_same() -> None:
    """By torch's default compiler, which a C++ compiler serves on the CPU."""
    flows = same_flows(torch.float32, attention=ATTENTIONS["imap"], **SMALL)
    x = torch.rand(2, *SHAPE)
    flow, reference = (flows[memory].eval() for memory in ("none", "checkpoint"))
    compile_flow(flow)
    with torch.no_grad():
        torch.testing.assert_close(flow.log_prob(x), reference.log_prob(x), rtol=1e-4, atol=1e-4)
    assert counters["inductor"]


def test_training_and_evaluation_compile_by_option(train, command, monkeypatch) -> None:
    compiled = partial(compile_flow, backend="eager")
    monkeypatch.setattr("attnflow.callbacks.compiled_flow.compile_flow", compiled)
    options = ["debug=fast", "model.levels=1", "coupling=affine", "attention=none"]
    reference = results(train(*options))
    assert not counters["stats"]
    run_dir = train(*options, "trainer.compile=true")
    assert counters["stats"]["unique_graphs"] > 0
    assert results(run_dir)["test/bpd"] == pytest.approx(reference["test/bpd"], abs=1e-4)
    checkpoint = run_dir / "checkpoints" / "best.ckpt"
    counters.clear()
    torch._dynamo.reset()
    options = ["trainer=cpu", "trainer.compile=true", "trainer.limit_test_batches=1"]
    evaluation = command("eval", f"ckpt_path={checkpoint}", *options)
    assert counters["stats"]["unique_graphs"] > 0
    assert results(evaluation)["test/bpd"] == pytest.approx(reference["test/bpd"], abs=1e-4)
