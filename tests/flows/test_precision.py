"""Under bfloat16 autocast, determinants, solves, priors and dequantization stay in float32."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from conftest import results
from exactness import make_context, randomise
from flow_kinds import ATTENTIONS, COUPLINGS
from refusals import refused

from attnflow import Context, Glow
from attnflow.data import DigitsDataModule
from attnflow.flows.level import Level
from attnflow.models.checkpoint import load_model, read_checkpoint
from attnflow.models.conditioning import ImageConditioning
from attnflow.models.dequantization import VariationalDequantizer
from attnflow.spec import DataSpec
from attnflow.transforms import ActNorm, Composition, InvertibleConv1x1
from attnflow.transforms.priors import (
    GaussianPrior,
    MultiScaleAutoregressivePrior,
    SplitGaussianPrior,
)

SHAPE = (4, 4, 4)
# None of these may compute in half precision; of a coupling, its net may.
WITHOUT_NETS = {
    "actnorm": ActNorm,
    "conv1x1": InvertibleConv1x1,
    **{name: partial(make, image_size=SHAPE[1:]) for name, make in ATTENTIONS.items() if make},
}
PRIORS = {
    "gaussian": GaussianPrior,
    "split_gaussian": SplitGaussianPrior,
    "mar": partial(MultiScaleAutoregressivePrior, hidden_channels=4),
}


def mixed() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


@pytest.fixture
def context() -> Context:
    double = make_context(3, 2, SHAPE)
    return Context(double.vector.float(), tuple(m.float() for m in double.maps))


@pytest.mark.parametrize("name", WITHOUT_NETS)
def test_transforms_ignore_autocast(name, context) -> None:
    transform = WITHOUT_NETS[name](SHAPE[0], context_channels=5)
    randomise(transform)
    x = torch.randn(2, *SHAPE)
    expected = (*transform(x, context), transform.inverse(x, context))
    with mixed():
        ours = (*transform(x, context), transform.inverse(x, context))
    for value, reference in zip(ours, expected, strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, reference, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_nets_alone_compute_in_half_precision(coupling, prior, context) -> None:
    """A flow's numbers are float32, near float32's own, and its round trip is float32's."""
    flow = Glow((1, 8, 8), 2, 2, coupling=COUPLINGS[coupling], prior=PRIORS[prior])
    randomise(flow, 0.1)
    flow.eval()
    x = torch.rand(2, 1, 8, 8)
    with mixed():
        latents, log_det = flow(x)
        back = flow.decode(latents)
        log_prob = flow.log_prob(x)
    assert all(value.dtype == torch.float32 for value in (*latents, log_det, back, log_prob))
    # Not bit for bit: a rounding difference in a net's input may flip a bit of its output.
    assert (back - x).abs().mean() < 1e-3
    assert 0 < (log_prob - flow.log_prob(x)).abs().max() < 0.05 * x[0].numel()


@pytest.mark.parametrize("prior", PRIORS)
def test_priors_ignore_autocast(prior) -> None:
    level = Level(Composition({}), PRIORS[prior](2, kept_channels=2), kept_channels=2)
    randomise(level, 0.3)
    x = torch.randn(2, 4, 3, 3)
    kept, latent, log_det = level(x)
    with mixed():
        ours = (*level(x), level.inverse(kept, latent))
    for value, reference in zip(ours, (kept, latent, log_det, x), strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-5, atol=1e-5)


def test_dequantization_ignores_autocast() -> None:
    dequantizer = VariationalDequantizer(17, (1, 8, 8))
    randomise(dequantizer, 0.1)
    images, noise = torch.randint(17, (2, 1, 8, 8)), torch.rand(2, 1, 8, 8)
    expected = dequantizer(images, noise)
    with mixed():
        ours = dequantizer(images, noise)
    for value, reference in zip(ours, expected, strict=True):
        torch.testing.assert_close(value, reference, rtol=0, atol=1e-6)


def test_every_conditioned_transform_reads_an_encoder_in_half_precision() -> None:
    spec = DataSpec((1, 8, 8), 17, condition_shape=(2, 8, 8), condition_bins=5)
    conditioning = ImageConditioning(spec, context_channels=4)
    flow = Glow((1, 8, 8), 2, 1, ATTENTIONS["reading"], context_channels=4).eval()
    conditioning.build(flow.map_sizes)
    randomise(flow, 0.1)
    batch = {"condition": torch.randint(5, (2, 2, 8, 8))}
    x = torch.rand(2, 1, 8, 8)
    with mixed():
        context = conditioning(batch)
        assert all(features.dtype == torch.float32 for features in context.maps)
        log_prob = flow.log_prob(x, context)
    assert (log_prob - flow.log_prob(x, conditioning(batch))).abs().max() < 0.05 * x[0].numel()


@pytest.mark.slow
def test_trained_bits_per_dim_are_those_of_float32(train) -> None:
    """Within 0.01."""
    run_dir = train(
        "trainer.max_epochs=6",
        "trainer.limit_train_batches=1.0",
        "trainer.check_val_every_n_epoch=6",
        "test=false",
    )
    path = run_dir / "checkpoints" / "best.ckpt"
    model = load_model(read_checkpoint(path), path)
    batch = {"image": DigitsDataModule().dataset("test").fields["image"]}
    noise = torch.rand(batch["image"].shape)
    with torch.no_grad():
        exact = model(batch, noise).mean()
        with mixed():
            rounded = model(batch, noise).mean()
    assert exact < 3.5  # it has learned something that rounding could spoil
    assert 0 < (rounded - exact).abs() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["none", "reversible"])
def test_training_in_mixed_precision_is_training_in_float32(train, memory) -> None:
    options = ["trainer.max_epochs=1", f"model.memory={memory}"]
    exact, mixed = (
        results(train(*options, f"trainer.precision={precision}"))
        for precision in ("32-true", "bf16-mixed")
    )
    assert 0 < abs(mixed["test/bpd"] - exact["test/bpd"]) < 0.01


def test_other_precisions_are_named(command) -> None:
    message = refused(command, "train", "debug=fast", "trainer=cpu", "trainer.precision=bf16-true")
    assert (
        "trainer.precision: expected one of 32-true, bf16-mixed, 16-mixed, got 'bf16-true'."
        in message
    )
