"""The guards: non-finite steps are skipped, spikes and inexact inverses are told."""

from __future__ import annotations

import csv
import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import results
from processes import in_two_processes
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from attnflow import AttnFlowError, Glow
from attnflow.callbacks.non_finite import NonFiniteGuard
from attnflow.callbacks.round_trip import RoundTripMonitor
from attnflow.callbacks.spikes import SpikeDetection
from attnflow.models.checkpoint import read_checkpoint
from attnflow.models.dequantization import UniformDequantizer
from attnflow.models.image_model import ImageModel
from attnflow.nets import ConvNet
from attnflow.training.diagnosis import where_non_finite
from attnflow.training.module import FlowModule
from attnflow.transforms import AffineCoupling
from attnflow.transforms.maps import AffineMap


def column(run_dir: Path, name: str) -> list[float]:
    """The logged values of one metric."""
    with (run_dir / "csv" / "version_0" / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def no_slope(value: Tensor) -> Tensor:
    """Zero, with a gradient that is not finite."""
    return (0 * value).abs().sqrt()


def disturbed(monkeypatch: pytest.MonkeyPatch, step: int, disturb) -> None:
    """Apply ``disturb(module, loss)`` to the loss of one training step."""
    training_step = FlowModule.training_step

    def wrapped(self, batch, batch_idx):
        loss = training_step(self, batch, batch_idx)
        return disturb(self, loss) if self.global_step == step else loss

    monkeypatch.setattr(FlowModule, "training_step", wrapped)


DISTURBANCES = {
    "loss is nan": lambda module, loss: loss * math.nan,
    "loss alone is infinite": lambda module, loss: loss + math.inf,
    "gradient alone is nan": lambda module, loss: loss + no_slope(loss),
}


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_a_step_that_is_not_finite_is_skipped(train, monkeypatch, disturbance, fused) -> None:
    disturbed(monkeypatch, 3, DISTURBANCES[disturbance])
    options = ["test=false", "attention=none", "trainer.log_every_n_steps=2"]
    run_dir = train(*options, f"optimizer.fused={fused}")
    assert results(run_dir)["steps"] == 6
    assert column(run_dir, "train/skipped_steps") == [0, 1, 1]
    checkpoint = read_checkpoint(run_dir / "checkpoints" / "last.ckpt")
    assert all(value.isfinite().all() for value in checkpoint["current_model_state"].values())
    states = checkpoint["optimizer_states"][0]["state"].values()
    assert {int(state["step"]) for state in states} == {5}
    assert "skipped step 3" in (run_dir / "train.log").read_text()


def test_the_count_goes_on_after_an_interruption(train, monkeypatch) -> None:
    disturbed(monkeypatch, 1, DISTURBANCES["loss is nan"])
    options = ["test=false", "attention=none"]
    first = train(*options, "trainer.max_epochs=1")
    second = train(*options, f"resume={first}")
    assert column(second, "train/skipped_steps")[3:] == [1, 1, 1]  # after those of the first


def small_model() -> ImageModel:
    net = partial(ConvNet, hidden_channels=4)
    flow = Glow((1, 4, 4), 1, 2, coupling=partial(AffineCoupling, net=net))
    return ImageModel(flow, UniformDequantizer(17, (1, 4, 4)))


class NoSlope(AffineMap):
    """An affine map whose parameters get a gradient that is not finite."""

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        z, log_derivative = super().forward(x, parameters)
        return z + no_slope(parameters[0]), log_derivative


def test_a_gradient_that_is_not_finite_is_located() -> None:
    model = small_model()
    batch, noise = {"image": torch.randint(17, (2, 1, 4, 4))}, torch.rand(2, 1, 4, 4)
    assert "every number was finite" in where_non_finite(model, batch, noise)
    model.flow.levels[0].transforms.step_1.coupling.map = NoSlope()
    assert "gradient of flow.levels.0.transforms.step_1.coupling.net" in where_non_finite(
        model, batch, noise
    )


class Layer(nn.Linear):
    def gradient_norm(self) -> Tensor:
        return get_total_norm([p.grad for p in self.parameters() if p.grad is not None])


def guarded_step(rank: int, meeting: str) -> None:
    """One of two ranks: the second's loss is NaN in the first of two steps."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=2
    )
    torch.manual_seed(0)
    layer = Layer(3, 1)
    replica = nn.parallel.DistributedDataParallel(layer)
    optimizer = torch.optim.AdamW(layer.parameters(), 0.1)
    trainer, guard = SimpleNamespace(global_step=0, log_every_n_steps=1), NonFiniteGuard()
    for step in range(2):
        before = layer.weight.detach().clone()
        loss = replica(torch.ones(2, 3) + rank).mean()
        if step == 0 and rank == 1:
            loss = loss * math.nan
        guard.on_before_backward(trainer, layer, loss)
        loss.backward()
        guard.on_before_optimizer_step(trainer, layer, optimizer)
        optimizer.step()
        optimizer.zero_grad()
        assert torch.equal(layer.weight, before) == (step == 0)
        assert int(guard.skipped) == 1
    weights = [torch.zeros_like(layer.weight) for _ in range(2)]
    torch.distributed.all_gather(weights, layer.weight.detach())
    assert torch.equal(*weights)
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_all_ranks_skip_together(tmp_path) -> None:
    in_two_processes(guarded_step, str(tmp_path / "meeting"))


def after(losses: list[float], **options) -> SpikeDetection:
    """The detection after these losses."""
    spikes = SpikeDetection(**options)
    for loss in losses:
        spikes.state = spikes.updated(torch.tensor(loss))
    return spikes


def count(*arguments, **options) -> int:
    return int(after(*arguments, **options).state[1])


def test_spikes_are_losses_far_above_those_before() -> None:
    noise = (3 + 0.1 * torch.randn(200)).tolist()
    assert count(noise) == 0
    assert count([*noise, 6.0]) == 1
    assert count([*noise, 6.0, *noise, 6.0]) == 2
    assert count([*noise, 0.0]) == 0  # good news
    assert count([*noise, math.nan, math.inf, *noise]) == 0
    assert count([*noise[:20], 6.0]) == 0  # no mean to compare with yet
    assert count([*noise, 3.6], deviations=4.0) == 1
    # A level that lasts becomes the new mean.
    assert count([*noise, *([6.0] * 300)]) == count([*noise, *([6.0] * 600)])


def test_averages_are_those_of_the_first_steps() -> None:
    losses = torch.rand(40).tolist()
    _, _, mean, variance, _, _ = after(losses).state.tolist()
    assert mean == pytest.approx(torch.tensor(losses).mean().item(), rel=1e-4)
    assert variance == pytest.approx(torch.tensor(losses).var(correction=0).item(), rel=1e-4)


def test_spikes_and_inexact_inverses_are_told(train, monkeypatch) -> None:
    disturbed(monkeypatch, 4, lambda module, loss: loss + 50)
    run_dir = train("callbacks.spikes.window=3", "callbacks.round_trip.limit=1e-12")
    assert column(run_dir, "train/spikes")[-2:] == [1, 1]
    assert all(0 < error < 1e-3 for error in column(run_dir, "val/round_trip_error"))
    assert len(column(run_dir, "val/round_trip_error")) == 2
    told = (run_dir / "train.log").read_text()
    assert "1 spikes of bits/dim up to step 5: the newest has 5" in told
    assert "callbacks.round_trip.limit is 1e-12" in told


def test_exact_inverses_are_not_told(train) -> None:
    told = (train("debug=fast", "test=false") / "train.log").read_text()
    assert "inverted" not in told
    assert "spike" not in told


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(NonFiniteGuard, limit=-1), "limit: expected 0 or more skipped steps, got -1."),
        (partial(SpikeDetection, window=1), "window: expected 2 or more, got 1"),
        (partial(SpikeDetection, deviations=0), "deviations: expected a number above 0, got 0"),
        (partial(RoundTripMonitor, limit=0), "limit: expected an error above 0, got 0"),
        (partial(RoundTripMonitor, num_images=0), "num_images: expected 1 or more, got 0"),
    ],
)
def test_bad_limits_are_named(make, message) -> None:
    with pytest.raises(AttnFlowError, match=message):
        make()
