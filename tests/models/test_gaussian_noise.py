"""Gaussian noise in the place of dequantization, and its removal from samples."""

from __future__ import annotations

import math
import re
from functools import partial

import pytest
import torch
from exactness import randomise
from torch import Tensor

from attnflow import AttnFlowError
from attnflow.flows import TarFlow
from attnflow.models.dequantization import GaussianDequantizer, UniformDequantizer
from attnflow.models.image_model import ImageModel
from attnflow.models.loaded import LoadedModel
from attnflow.nets import CausalTransformer
from attnflow.transforms import Autoregressive
from attnflow.utils.noise import sample_keys, uniform_noise

SHAPE = (1, 4, 4)
FLOW = partial(
    TarFlow,
    SHAPE,
    blocks=2,
    transformer=partial(Autoregressive, net=partial(CausalTransformer, width=8)),
)


def model_of(**options) -> ImageModel:
    torch.manual_seed(0)
    model = ImageModel(FLOW(), GaussianDequantizer(256, SHAPE, **options))
    randomise(model, 0.1)
    return model.eval()


def test_noise_is_normal_around_the_middle_of_the_grey_value() -> None:
    dequantizer = GaussianDequantizer(256, SHAPE, std=0.1)
    x = torch.randint(256, (5_000, *SHAPE))
    noise = uniform_noise(sample_keys(0, 0, torch.arange(5_000)), SHAPE)
    y, log_q = dequantizer(x, noise)
    assert not log_q.any()
    found = ((y - (x + 0.5) / 256) / 0.1).flatten().sort().values
    expected = torch.distributions.Normal(0, 1).icdf((torch.arange(80_000) + 0.5) / 80_000)
    assert (found - expected)[400:-400].abs().max() < 0.05
    ends = torch.tensor([0.0, 1 - 2.0**-24]).view(2, 1, 1, 1).expand(2, *SHAPE)
    assert dequantizer(x[:2], ends)[0].isfinite().all()
    middle = dequantizer(x, torch.full(x.shape, 0.5))[0]
    assert torch.equal(dequantizer.quantize(middle), x)


def test_the_figure_is_the_density_of_noisy_images_in_bits() -> None:
    model = model_of()
    batch, noise = {"image": torch.randint(256, (3, *SHAPE))}, torch.rand(3, *SHAPE)
    y, _ = model.dequantizer(batch["image"], noise)
    expected = (8 * math.log(2) - model.flow.log_prob(y) / 16) / math.log(2)
    torch.testing.assert_close(model(batch, noise), expected)
    assert model.metric == "noisy_bpd"


MEAN, SPREAD, STD = 0.4, 0.1, 0.2


def gaussian_log_prob(y: Tensor) -> Tensor:
    """Of clean values N(MEAN, SPREAD^2) under noise of std STD."""
    normal = torch.distributions.Normal(MEAN, math.hypot(SPREAD, STD))
    return normal.log_prob(y).flatten(1).sum(1)


def test_denoising_finds_the_expected_clean_image() -> None:
    """Known for a Gaussian; so is how much of the noise is left."""
    dequantizer = GaussianDequantizer(256, SHAPE, std=STD)
    clean = MEAN + SPREAD * torch.randn(2_000, *SHAPE).double()
    noisy = clean + STD * torch.randn_like(clean)
    found = dequantizer.expected(noisy, gaussian_log_prob)
    share = SPREAD**2 / (SPREAD**2 + STD**2)
    torch.testing.assert_close(found, MEAN + share * (noisy - MEAN))
    before, after = ((values - clean).square().mean() for values in (noisy, found))
    assert before == pytest.approx(STD**2, rel=0.05)
    assert after == pytest.approx(share * STD**2, rel=0.05)
    assert torch.equal(dequantizer.restore(noisy, gaussian_log_prob), dequantizer.quantize(found))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_samples_are_freed_of_noise_if_asked(mode) -> None:
    """Also in an evaluation, which keeps no gradients."""
    noisy, clean = (model_of(denoise=denoise) for denoise in (False, True))
    y = noisy.flow.sample(8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    (score,) = torch.autograd.grad(noisy.flow.log_prob(y).sum(), y)
    with mode():
        drawn = [
            model.sample(8, generator=torch.Generator().manual_seed(1)) for model in (noisy, clean)
        ]
    for found, values in zip(drawn, (y, y + 0.05**2 * score), strict=True):
        assert torch.equal(found, noisy.dequantizer.quantize(values.detach()))
    assert not torch.equal(*drawn)


def test_bits_per_dim_are_refused() -> None:
    model = LoadedModel(model_of())
    images = torch.zeros(1, *SHAPE, dtype=torch.uint8)
    with pytest.raises(AttnFlowError, match="bits_per_dim: expected a model of dequantized images"):
        model.bits_per_dim(images)
    assert torch.equal(model.decode(model.encode(images)), images)
    noises = [torch.rand(1, *SHAPE)] * 2
    with pytest.raises(AttnFlowError, match="importance_samples: expected 1 of a model of noisy"):
        model.model.importance_bits_per_dim({"image": images}, noises)
    uniform = LoadedModel(ImageModel(FLOW(), UniformDequantizer(256, SHAPE)))
    assert uniform.bits_per_dim(images).isfinite().all()


@pytest.mark.parametrize("std", [0.0, -0.1, math.nan, math.inf])
def test_no_noise_is_refused(std) -> None:
    with pytest.raises(
        AttnFlowError, match=re.escape(f"std: expected a number above 0, got {std}.")
    ):
        GaussianDequantizer(256, SHAPE, std=std)
