"""Variational dequantization and the importance-weighted bound."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from conftest import results
from exactness import randomise

from attnflow import AttnFlowError, Glow
from attnflow.models.dequantization import UniformDequantizer, VariationalDequantizer
from attnflow.models.image_model import ImageModel
from attnflow.nets import ConvNet
from attnflow.transforms import AffineCoupling
from attnflow.utils.noise import sample_keys, uniform_noise


def test_starts_as_uniform_dequantization() -> None:
    dequantizer = VariationalDequantizer(17, (1, 4, 4))
    x, noise = torch.randint(17, (64, 1, 4, 4)), torch.rand(64, 1, 4, 4)
    y, log_q = dequantizer(x, noise)
    torch.testing.assert_close(log_q, torch.zeros(64), atol=1e-3, rtol=0)
    u = (y * 17 - x).flatten(1).sort(1).values
    torch.testing.assert_close(u, noise.flatten(1).sort(1).values, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 2, 4)])
def test_log_q_is_exact(shape) -> None:
    dequantizer = VariationalDequantizer(17, shape, steps=3, hidden_channels=8)
    randomise(dequantizer, 0.1)
    dequantizer = dequantizer.double()
    x = torch.randint(17, (1, *shape))
    noise = 0.1 + 0.8 * torch.rand(1, *shape).double()
    matrix = torch.autograd.functional.jacobian(
        lambda v: (17 * dequantizer(x, v.view(1, *shape))[0] - x).flatten(), noise.flatten()
    )
    expected = -torch.linalg.slogdet(matrix).logabsdet
    torch.testing.assert_close(dequantizer(x, noise)[1][0], expected, rtol=1e-8, atol=1e-8)


def test_values_stay_in_their_bin() -> None:
    dequantizer = VariationalDequantizer(256, (1, 4, 4))
    randomise(dequantizer, 1.0)
    x = torch.randint(256, (256, 1, 4, 4))
    for noise in (torch.rand(x.shape), torch.zeros(x.shape), torch.full(x.shape, 1 - 2.0**-24)):
        y, log_q = dequantizer(x, noise)
        assert torch.equal(dequantizer.quantize(y), x)
        assert torch.isfinite(log_q).all()


def small_model(dequantizer: type) -> ImageModel:
    torch.manual_seed(0)
    net = partial(ConvNet, hidden_channels=16)
    flow = Glow((1, 4, 4), levels=1, steps=2, coupling=partial(AffineCoupling, net=net))
    return ImageModel(flow, dequantizer(4, image_shape=(1, 4, 4)))


def trained_bpd(dequantizer: type) -> float:
    """Bits/dim of images that a smooth density fits badly: two grey values at random."""
    model = small_model(dequantizer)
    images = 3 * torch.randint(2, (256, 1, 4, 4))
    batch = {"image": images}
    model.initialize(batch, torch.rand(images.shape))
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for step in range(150):
        noise = uniform_noise(sample_keys(0, step, torch.arange(256)), (1, 4, 4))
        loss = model(batch, noise).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


@pytest.mark.slow
def test_learned_noise_lowers_the_bound() -> None:
    uniform, variational = trained_bpd(UniformDequantizer), trained_bpd(VariationalDequantizer)
    assert variational < uniform - 0.05
    assert variational > 1.0  # the entropy: one fair bit a pixel


def test_importance_bound_is_tighter_and_equals_one_sample_for_one() -> None:
    model = small_model(UniformDequantizer)
    randomise(model, 0.1)
    batch = {"image": torch.randint(4, (128, 1, 4, 4))}
    noises = [torch.rand(128, 1, 4, 4) for _ in range(32)]
    with torch.no_grad():
        single = torch.stack([model(batch, noise) for noise in noises])
        one = model.importance_bits_per_dim(batch, noises[:1])
        many = model.importance_bits_per_dim(batch, noises)
    torch.testing.assert_close(one, single[0])
    assert (many <= single.mean(0) + 1e-5).all()
    assert many.mean() < single.mean() - 1e-3
    weights = -single.double() * 16 * torch.log(torch.tensor(2.0))
    expected = (
        -(weights.logsumexp(0) - torch.log(torch.tensor(32.0))) / 16 / torch.log(torch.tensor(2.0))
    )
    torch.testing.assert_close(many.double(), expected.double(), rtol=1e-4, atol=1e-4)


def test_eval_gives_the_importance_bound(train, command) -> None:
    run_dir = train("dequantization=variational")
    checkpoint = run_dir / "checkpoints" / "best.ckpt"
    options = ["eval.importance_samples=4", "eval.pictures=[]"]
    figures = results(command("eval", f"ckpt_path={checkpoint}", *options))
    assert figures["test/bpd"] == pytest.approx(results(run_dir)["test/bpd"], abs=1e-6)
    assert figures["test/bpd_importance"] < figures["test/bpd"]
    with pytest.raises(SystemExit, match="importance_samples: expected 1 or more, got 0"):
        command("eval", f"ckpt_path={checkpoint}", "eval.importance_samples=0")


def test_bad_sizes_are_named() -> None:
    with pytest.raises(AttnFlowError, match="5 x 4"):
        VariationalDequantizer(17, (1, 5, 4))
    with pytest.raises(AttnFlowError, match=r"num_bins: expected|num_bins is 1"):
        UniformDequantizer(1, (1, 4, 4))
