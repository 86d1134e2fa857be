"""Round trips, the range of samples and the error of the mean, on one process and on two."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from conftest import results
from exactness import randomise
from lightning import Trainer
from processes import two_processes

from attnflow import AttnFlowError, Glow
from attnflow.callbacks.soundness import Soundness
from attnflow.data import DigitsDataModule
from attnflow.metrics.soundness import out_of_range, round_trip_errors
from attnflow.models.dequantization import UniformDequantizer
from attnflow.models.dequantization.base import Dequantizer
from attnflow.models.image_model import ImageModel
from attnflow.nets import ConvNet
from attnflow.training.module import FlowModule
from attnflow.transforms import AffineCoupling, IMap

CALLBACK = partial(Soundness, num_images=7, batch_size=3)


class InexactFlow(Glow):
    """Its inverse is wrong by more than rounding, which depends on the batch."""

    def decode(self, latents, context=None) -> torch.Tensor:
        x = super().decode(latents, context)
        return x + 0.1 * x.square()


def tiny_module(kind: type[Glow] = InexactFlow) -> FlowModule:
    torch.manual_seed(0)
    coupling = partial(AffineCoupling, net=partial(ConvNet, hidden_channels=4))
    flow = kind((1, 8, 8), levels=1, steps=2, attention=IMap, coupling=coupling)
    randomise(flow, 0.2)
    return FlowModule(ImageModel(flow, UniformDequantizer(17, (1, 8, 8))).eval())


def figures_of(tmp_path, **options) -> dict[str, float]:
    """What a test of the tiny module logs."""
    options = {"devices": 1, **options}
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[CALLBACK()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
        **options,
    )
    (figures,) = trainer.test(tiny_module(), DigitsDataModule(), verbose=False)
    return figures


def digits(n: int) -> dict[str, torch.Tensor]:
    return DigitsDataModule().dataset("test").__getitems__(range(n))


def test_an_exact_inverse_has_a_small_error_and_a_wrong_one_its_own(monkeypatch) -> None:
    model, batch = tiny_module(Glow).model, digits(5)
    noise = torch.rand(batch["image"].shape)
    assert 0 < round_trip_errors(model, batch, noise).max() < 1e-4
    decode = model.flow.decode
    monkeypatch.setattr(model.flow, "decode", lambda *a: decode(*a) + 0.25)
    errors = round_trip_errors(model, batch, noise)
    torch.testing.assert_close(errors, torch.full_like(errors, 0.25), atol=1e-4, rtol=0)
    monkeypatch.setattr(model.flow, "decode", lambda *a: decode(*a) * torch.nan)
    assert torch.isinf(round_trip_errors(model, batch, noise)).all()


def test_values_outside_the_pixel_range_are_counted() -> None:
    values = torch.tensor([-0.1, 0.0, 0.999, 1.0, 2.0, torch.nan, -torch.inf])
    assert out_of_range(values) == 5


def test_figures_of_a_test(tmp_path) -> None:
    figures, module = figures_of(tmp_path), tiny_module()
    batch = digits(297)
    with torch.no_grad():
        bits = module.bits_per_dim(batch)
    assert figures["test/bpd"] == pytest.approx(float(bits.mean()), rel=1e-5)
    expected = float(bits.std()) / math.sqrt(297)
    assert figures["test/bpd_std_err"] == pytest.approx(expected, rel=1e-4)
    seven = {name: rows[:7] for name, rows in batch.items()}
    errors = round_trip_errors(module.model, seven, module.noise(seven, -1))
    assert figures["test/round_trip_max"] == pytest.approx(float(errors.max()), rel=1e-3)
    assert figures["test/round_trip_mean"] == pytest.approx(float(errors.mean()), rel=1e-3)
    assert 0 < figures["test/out_of_range"] < 1


def test_samples_are_freed_of_noise_before_their_range_is_judged(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Dequantizer, "clean", lambda self, y, log_prob: torch.full_like(y, 0.5))
    assert figures_of(tmp_path)["test/out_of_range"] == 0


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path) -> None:
    alone = figures_of(tmp_path)
    together = figures_of(tmp_path, **two_processes())
    assert together.pop("test/out_of_range") == pytest.approx(
        alone.pop("test/out_of_range"), abs=0.2
    )  # of other samples
    assert together == pytest.approx(alone, rel=1e-3)


def test_training_and_evaluation_report_them(train, command) -> None:
    run_dir = train("debug=fast")
    options = ["eval.num_sound=4", "eval.pictures=[]"]
    evaluation = command("eval", f"ckpt_path={run_dir}/checkpoints/best.ckpt", *options)
    for folder in (run_dir, evaluation):
        figures = results(folder)
        assert 0 < figures["test/bpd_std_err"] < figures["test/bpd"]
        assert 0 <= figures["test/round_trip_mean"] <= figures["test/round_trip_max"] < 1e-3
        assert 0 <= figures["test/out_of_range"] <= 1


def test_no_images_are_refused() -> None:
    with pytest.raises(AttnFlowError, match="num_images: expected 1 or more, got 0"):
        Soundness(num_images=0)
