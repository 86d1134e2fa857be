"""Conditional flows: exact under every condition, and clear about wrong ones."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from conftest import results
from exactness import randomise

from attnflow import AttnFlowError, Glow
from attnflow.flows.parts import CONDITIONABLE
from attnflow.metrics.conditional import (
    agreement_with_labels,
    bayes_rule,
    fidelity_to_truth,
    shuffled_bits_per_dim,
)
from attnflow.models.build import build_model
from attnflow.models.conditioning import ClassConditioning, ImageConditioning
from attnflow.models.dequantization import UniformDequantizer
from attnflow.models.image_model import ImageModel
from attnflow.nets import ConvNet
from attnflow.spec import DataSpec
from attnflow.training.module import FlowModule
from attnflow.transforms import AffineCoupling, IMap, ITrans
from attnflow.transforms.priors import GaussianPrior

# What reads a condition in a Glow.
READERS = tuple(name for name in CONDITIONABLE if name != "transformer")
SPEC = DataSpec((1, 4, 4), 17, num_classes=3, condition_shape=(2, 4, 4), condition_bins=5)
BATCH = {
    "image": torch.arange(6 * 16).view(6, 1, 4, 4) % 17,
    "index": torch.arange(6),
    "label": torch.tensor([0, 1, 2, 0, 1, 2]),
    "condition": torch.arange(6 * 32).view(6, 2, 4, 4) % 5,
}
KINDS = {
    "class": partial(ClassConditioning, context_channels=3),
    "image": partial(ImageConditioning, context_channels=4),
}


def model_of(kind: str, conditions: tuple[str, ...], **options) -> ImageModel:
    conditioning = KINDS[kind](SPEC, conditions=conditions)
    flow = Glow(
        SPEC.image_shape,
        levels=2,
        steps=2,
        coupling=partial(AffineCoupling, net=partial(ConvNet, hidden_channels=6)),
        context_channels=conditioning.context_channels,
        conditions=conditioning.conditions,
        **options,
    )
    model = ImageModel(flow, UniformDequantizer(17, SPEC.image_shape), conditioning)
    randomise(model, 0.2)
    return model.eval()


@pytest.mark.parametrize("attention", [None, IMap, partial(ITrans, patch_size=1)])
@pytest.mark.parametrize("conditions", [READERS, *((name,) for name in READERS)])
@pytest.mark.parametrize("kind", KINDS)
def test_conditional_density_is_exact(kind, conditions, attention) -> None:
    model = model_of(kind, conditions, attention=attention).double()
    context = model.context({k: v.double() if k == "condition" else v for k, v in BATCH.items()})
    y = torch.rand(6, 1, 4, 4).double()
    latents, log_det = model.flow(y, context)
    torch.testing.assert_close(model.flow.decode(latents, context), y)

    def flat(row: torch.Tensor, number: int) -> torch.Tensor:
        latents = model.flow.encode(row.view(1, 1, 4, 4), context.index(slice(number, number + 1)))
        return torch.cat([latent.flatten() for latent in latents])

    for number in range(2):
        jacobian = torch.autograd.functional.jacobian(
            partial(flat, number=number), y[number].flatten()
        )
        expected = torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(log_det[number], expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_transform_reads_the_condition_unless_switched_off(kind, name) -> None:
    """With one transform conditional, the condition matters; with none, it does not."""
    other = BATCH | {"label": (BATCH["label"] + 1) % 3, "condition": 4 - BATCH["condition"]}
    noise = torch.rand(6, 1, 4, 4)
    for conditions, matters in (((name,), True), ((), False)):
        model = model_of(kind, conditions, attention=IMap, prior=GaussianPrior)
        with torch.no_grad():
            assert torch.equal(model(BATCH, noise), model(other, noise)) != matters


def test_wrong_conditions_are_named() -> None:
    model = model_of("class", READERS)
    with pytest.raises(AttnFlowError, match="class ids: expected 0 to 2, got 0 to 3"):
        model.sample(2, {"label": torch.tensor([0, 3])})
    with pytest.raises(
        AttnFlowError, match="the batch: expected 'label', on which this flow is conditioned"
    ):
        model.sample(2, {"index": torch.tensor([0, 3])})
    with pytest.raises(AttnFlowError, match="context: expected 2 rows, one for each sample, got 3"):
        model.sample(2, {"label": torch.tensor([0, 1, 2])})
    with pytest.raises(
        AttnFlowError, match="context: expected a Context with context_channels=3, got None"
    ):
        model.sample(2)
    image = model_of("image", READERS)
    with pytest.raises(AttnFlowError, match=r"shape \(2, 4, 4\), got shape \(1, 4, 4\)"):
        image.sample(1, {"condition": torch.zeros(1, 1, 4, 4)})
    plain = DataSpec((1, 4, 4), 17)
    with pytest.raises(AttnFlowError, match="expected a data set with labels"):
        ClassConditioning(plain)
    with pytest.raises(AttnFlowError, match="a condition of shape None"):
        ImageConditioning(plain)
    with pytest.raises(AttnFlowError, match=r"conditions: expected one of .*, got 'squeeze'"):
        Glow((1, 4, 4), context_channels=2, conditions=("squeeze",))


def test_bayes_rule_agrees_with_the_densities() -> None:
    module = FlowModule(model_of("class", READERS))
    noise = module.noise(BATCH, -1)
    with torch.no_grad():
        bits = [module.model(BATCH | {"label": torch.full((6,), y)}, noise) for y in range(3)]
    expected = (torch.stack(bits, 1).argmin(1) == BATCH["label"]).float().mean()
    assert bayes_rule(module, [BATCH], torch.ones(3) / 3) == pytest.approx(float(expected))
    certain = torch.tensor([1.0, 1e-30, 1e-30])
    assert bayes_rule(module, [BATCH], certain**8) == pytest.approx(2 / 6)


def test_shuffled_conditions_are_those_of_other_images() -> None:
    module = FlowModule(model_of("class", READERS))
    parts = [{k: v[rows] for k, v in BATCH.items()} for rows in (slice(0, 4), slice(4, 6))]
    swapped = BATCH | {"label": BATCH["label"].roll(1)}
    with torch.no_grad():
        expected = module.bits_per_dim(swapped).mean()
    assert shuffled_bits_per_dim(module, parts) == pytest.approx(float(expected), rel=1e-5)


def test_fidelity_of_the_truth_itself_is_perfect(monkeypatch) -> None:
    model = model_of("image", READERS)
    monkeypatch.setattr(model, "sample", lambda *_: BATCH["image"])
    figures = fidelity_to_truth(model, [BATCH, BATCH], 3, 1.0)
    assert figures["psnr_mean"] == figures["psnr_best"] == 100
    assert figures["ssim_best"] == pytest.approx(1)
    assert figures["diversity"] == pytest.approx(0, abs=1e-6)


def test_a_perfect_segmenter_finds_all_labels_again(monkeypatch) -> None:
    model = model_of("image", READERS)
    labels = torch.randint(2, (6, 4, 4))
    batch = {"condition": torch.stack([1 - labels, labels], 1)}
    monkeypatch.setattr(model, "sample", lambda *_: 16 * labels[:, None])
    figures = agreement_with_labels(model, [batch, batch], lambda images: images[:, 0] > 0.5)
    assert figures == {"pixel_accuracy": 1, "mean_iou": 1}
    figures = agreement_with_labels(model, [batch, batch], lambda images: images[:, 0] < 0.5)
    assert figures == {"pixel_accuracy": 0, "mean_iou": 0}
    with pytest.raises(AttnFlowError, match=r"got shape \(6, 1, 4, 4\)"):
        agreement_with_labels(model, [batch, batch], lambda images: images > 0.5)
    twice = {"condition": 2 * batch["condition"]}
    with pytest.raises(AttnFlowError, match="not one-hot"):
        agreement_with_labels(model, [twice], lambda images: images)


@pytest.mark.parametrize(
    ("options", "figure"),
    [
        (["data=digits", "conditioning=class"], "test/bayes_accuracy"),
        (["data=digits_inpaint", "conditioning=image"], "test/psnr_best"),
    ],
)
@pytest.mark.parametrize("attention", ["none", "itrans"])
def test_conditional_training_and_evaluation(train, command, options, figure, attention) -> None:
    run_dir = train("debug=fast", *options, f"attention={attention}")
    few = ["eval.num_samples=8", "eval.num_sound=4", "eval.num_conditions=8"]
    few.append("eval.pictures=[samples,transfer]")
    evaluation = command("eval", f"ckpt_path={run_dir}/checkpoints/best.ckpt", *few)
    figures = results(evaluation)
    assert figures["test/bpd_shuffled_condition"] > 0
    assert figures[figure] >= 0
    for picture in ("samples", "transfer"):
        assert (evaluation / "samples" / f"{picture}.png").stat().st_size > 100


def test_conditioning_needs_data_that_has_it() -> None:
    conditioning = {"_target_": "attnflow.models.conditioning.ClassConditioning", "_partial_": True}
    with pytest.raises(AttnFlowError, match="expected a data set with labels"):
        build_model({"conditioning": conditioning}, DataSpec((3, 8, 8), 256))
