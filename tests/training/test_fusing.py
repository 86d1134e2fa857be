"""Optimizers that step in one pass: where they do, and that clipping and steps stay the same."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from four_steps import train_four_steps
from lightning import LightningModule
from torch import nn
from torch.optim import SGD, Adam, AdamW

from attnflow.models.checkpoint import read_checkpoint
from attnflow.training.fusing import fusing, place_steps
from attnflow.training.module import FlowModule


@pytest.mark.parametrize(
    ("made", "device", "precision", "options"),
    [
        (partial(AdamW, fused=None), "cpu", "32-true", {"fused": True}),
        (partial(AdamW, fused=None), "cuda", "bf16-mixed", {"fused": True}),
        (partial(AdamW, fused=None), "cuda", "16-mixed", {"fused": False}),
        (partial(AdamW, fused=None), "xla", "32-true", {"fused": False}),
        (partial(AdamW, fused=None, differentiable=True), "cpu", "32-true", {"fused": False}),
        (partial(AdamW, fused=None, foreach=True), "cpu", "32-true", {"fused": False}),
        (partial(AdamW, fused=False), "cpu", "32-true", {}),
        (partial(SGD, lr=0.1), "cpu", "32-true", {}),
        (AdamW, "cpu", "32-true", {}),
        (None, "cpu", "32-true", {}),
    ],
)
def test_what_was_left_open_is_one_pass_where_that_can_be(made, device, precision, options) -> None:
    assert fusing(made, torch.device(device), precision) == options


@pytest.mark.parametrize(
    ("option", "fused"),
    [([], True), (["optimizer.fused=false"], False), (["optimizer=adam"], True)],
)
def test_a_training_steps_as_its_options_say(train, option, fused) -> None:
    run_dir = train("debug=fast", "test=false", *option)
    held = read_checkpoint(run_dir / "checkpoints" / "last.ckpt")["optimizer_states"][0]
    assert held["param_groups"][0]["fused"] == fused


def test_an_optimizer_without_such_an_option_takes_its_steps(train) -> None:
    """The null of the default group is no option of its own."""
    options = ["optimizer._target_=torch.optim.RMSprop", "~optimizer.betas"]
    run_dir = train("debug=fast", "test=false", *options)
    held = read_checkpoint(run_dir / "checkpoints" / "last.ckpt")["optimizer_states"][0]
    assert "alpha" in held["param_groups"][0]


def test_counts_of_steps_lie_beside_the_weights() -> None:
    """The meta device stands for an accelerator."""
    weight = nn.Parameter(torch.zeros(2, device="meta"))
    for fused in (False, True):
        optimizer = Adam([weight])
        optimizer.state[weight]["step"] = torch.tensor(3.0)
        optimizer.param_groups[0]["fused"] = fused
        place_steps(optimizer)
        assert optimizer.state[weight]["step"].is_meta == fused


def trained(limit: float | None, algorithm: str | None = None) -> list[torch.Tensor]:
    """The weights after four steps, clipped so."""
    torch.manual_seed(0)
    # Not Adam, to whose steps the gradients' scale is next to nothing.
    options = {"gradient_clip_val": limit, "gradient_clip_algorithm": algorithm}
    module = train_four_steps(partial(SGD, lr=1e-3), **options)
    return [parameter.detach() for parameter in module.parameters()]


@pytest.mark.parametrize(
    ("limit", "algorithm"), [(0.1, None), (0.1, "norm"), (0.01, "value"), (None, None)]
)
def test_gradients_are_clipped_as_lightning_does(monkeypatch, limit, algorithm) -> None:
    ours = trained(limit, algorithm)
    theirs = LightningModule.configure_gradient_clipping
    monkeypatch.setattr(FlowModule, "configure_gradient_clipping", theirs)
    torch.testing.assert_close(ours, trained(limit, algorithm))
    assert any((a - b).abs().max() > 1e-5 for a, b in zip(ours, trained(1e-6), strict=True))
