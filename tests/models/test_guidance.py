"""Condition dropout, and samples that follow their condition beyond itself."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

import pytest
import torch
from exactness import randomise

from attnflow import AttnFlowError
from attnflow.flows import Glow, Jet, TarFlow
from attnflow.models.conditioning import ClassConditioning, ImageConditioning
from attnflow.models.dequantization import UniformDequantizer
from attnflow.models.image_model import Batch, ImageModel
from attnflow.models.loaded import LoadedModel
from attnflow.nets import CausalTransformer, ConvNet, ViT
from attnflow.spec import DataSpec
from attnflow.training.module import FlowModule
from attnflow.transforms import AffineCoupling, Autoregressive, IMap, InvertibleConv1x1
from attnflow.transforms.autoregressive import JacobiSolver
from attnflow.transforms.priors import GaussianPrior, MultiScaleAutoregressivePrior
from attnflow.utils.noise import NO_EPOCH

SHAPE = (1, 4, 4)
SPEC = DataSpec(SHAPE, 17, num_classes=3, condition_shape=(2, 4, 4), condition_bins=5)
BATCH = {
    "image": torch.arange(6 * 16).view(6, *SHAPE) % 17,
    "index": torch.arange(6),
    "label": torch.tensor([0, 1, 2, 0, 1, 2]),
    "condition": torch.arange(6 * 32).view(6, 2, 4, 4) % 5,
}
KINDS = {
    "class": partial(ClassConditioning, context_channels=3),
    "image": partial(ImageConditioning, context_channels=4),
}
NET = partial(ConvNet, hidden_channels=6)
CAUSAL = partial(Autoregressive, net=partial(CausalTransformer, width=8))
FLOWS = {
    "glow": partial(
        Glow,
        levels=2,
        steps=1,
        attention=IMap,
        coupling=partial(AffineCoupling, net=NET),
        prior=partial(MultiScaleAutoregressivePrior, hidden_channels=4),
    ),
    "jet": partial(Jet, steps=2, coupling=partial(AffineCoupling, net=partial(ViT, width=8))),
    "tarflow": partial(TarFlow, blocks=2, transformer=CAUSAL),
    "tarflow, jacobi": partial(
        TarFlow, blocks=2, transformer=partial(CAUSAL, solver=JacobiSolver())
    ),
}


def model_of(flow: str = "tarflow", kind: str = "class", **options) -> ImageModel:
    torch.manual_seed(0)
    conditioning = KINDS[kind](SPEC, **({"condition_dropout": 0.25} | options))
    made = FLOWS[flow](
        SHAPE,
        context_channels=conditioning.context_channels,
        conditions=("actnorm", "conv1x1", "coupling", "transformer", "attention", "prior"),
    )
    model = ImageModel(made, UniformDequantizer(17, SHAPE), conditioning)
    randomise(model, 0.2)
    return model.eval()


def drawn(model: ImageModel, **options) -> torch.Tensor:
    return model.sample(6, BATCH, generator=torch.Generator().manual_seed(3), **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flow", FLOWS)
def test_guided_flows_invert_themselves_and_no_weight_is_no_guidance(flow, kind) -> None:
    model = model_of(flow, kind)
    plain = drawn(model)
    assert torch.equal(drawn(model, guidance=0), plain)
    assert not torch.equal(drawn(model, guidance=2.0), plain)
    model.guide(2.0)
    assert torch.equal(drawn(model), drawn(model, guidance=2.0))
    model.double()
    context = model.guided(model.context(BATCH), None)
    latents = model.flow.base_sample(6)
    y = model.flow.decode(latents, context)
    for found, expected in zip(model.flow.encode(y, context), latents, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    unguided = replace(context, guidance=None)
    assert (model.flow.decode(latents, unguided) - y).abs().max() > 1e-3
    # In batches, each sample with its own two contexts.
    parts = [
        model.flow.decode([z[i : i + 2] for z in latents], context.index(slice(i, i + 2)))
        for i in (0, 2, 4)
    ]
    torch.testing.assert_close(torch.cat(parts), y)


def test_guided_means_lie_as_far_beyond_the_class_as_the_weight_says() -> None:
    """Of Gaussians whose mean is the class's, around that of no class."""
    conditioning = ClassConditioning(SPEC, context_channels=1, condition_dropout=0.1)
    flow = Glow(
        SHAPE,
        levels=1,
        steps=1,
        coupling=partial(AffineCoupling, net=NET),
        prior=GaussianPrior,
        conv1x1=partial(InvertibleConv1x1, start="permutation"),
        context_channels=1,
        conditions=("prior",),
    )
    model = ImageModel(flow, UniformDequantizer(17, SHAPE), conditioning)
    with torch.no_grad():
        conditioning.embedding.weight.copy_(torch.tensor([[-1.0], [0.0], [1.0]]))
        conditioning.nothing.fill_(0.25)
        flow.levels[0].prior.conditioner.weight[:4] = 1.0  # means of the four channels
    for weight in (0.0, 1.0, 3.0):
        context = model.guided(model.context({"label": torch.arange(3)}), weight)
        mean = flow.sample(3, context, temperature=0).mean((1, 2, 3))
        classes = torch.tensor([-1.0, 0.0, 1.0])
        torch.testing.assert_close(mean, classes + weight * (classes - 0.25))


def test_guidance_moves_samples_towards_their_class_once_trained() -> None:
    """Of images that are dark, middling or bright, a class each, with much overlap."""
    torch.manual_seed(0)
    conditioning = ClassConditioning(SPEC, 4, conditions=("transformer",), condition_dropout=0.2)
    flow = TarFlow(SHAPE, blocks=2, transformer=CAUSAL, context_channels=4)
    module = FlowModule(ImageModel(flow, UniformDequantizer(17, SHAPE), conditioning))
    labels = torch.arange(512) % 3
    levels = 5 + 3 * labels[:, None, None, None] + 3 * torch.randn(512, *SHAPE)
    batch = {"image": levels.round().clamp(0, 16).long(), "label": labels}
    batch["index"] = torch.arange(512)
    module.model.initialize(batch, module.noise(batch, NO_EPOCH))
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for epoch in range(40):
        optimizer.zero_grad()
        module.bits_per_dim(batch, epoch).mean().backward()
        optimizer.step()
    model = module.model.eval()
    given = {"label": torch.arange(3).repeat_interleave(100)}
    means = [
        model.sample(300, given, 1.0, torch.Generator().manual_seed(0), guidance=weight)
        .float()
        .view(3, -1)
        .mean(1)
        for weight in (0.0, 1.0)
    ]
    plain, guided = means
    assert plain[0] + 2 < plain[1] < plain[2] - 2
    assert guided[0] < plain[0] - 0.5
    assert guided[2] > plain[2] + 0.5
    assert (guided[1] - plain[1]).abs() < 1


def module_of(share: float = 0.25, seed: int = 0, kind: str = "class") -> FlowModule:
    return FlowModule(model_of(kind=kind, condition_dropout=share), seed=seed)


def index_of(*rows: int) -> Batch:
    return {"index": torch.arange(*rows)}


def test_as_many_conditions_are_dropped_as_asked_for_the_same_on_any_ranks() -> None:
    module = module_of(0.25)
    whole = module.dropped(index_of(20_000), epoch=3)
    assert whole.float().mean() == pytest.approx(0.25, abs=0.01)
    shares = [module.dropped(index_of(rank, 20_000, 2), epoch=3) for rank in range(2)]
    assert torch.equal(torch.stack(shares, 1).flatten(), whole)
    for other in (
        module.dropped(index_of(20_000), 4),
        module_of(0.25, 1).dropped(index_of(20_000), 3),
    ):
        both = (whole & other).float().mean()
        assert both == pytest.approx(0.25**2, abs=0.01)


def test_what_is_dropped_says_nothing_of_the_noise() -> None:
    module = module_of(0.25)
    dropped = module.dropped(index_of(20_000), epoch=0)
    noise = module.noise(index_of(20_000), epoch=0)
    assert (noise[dropped].mean(0) - 0.5).abs().max() < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_training_shows_some_images_without_their_condition_and_evaluation_none(kind) -> None:
    module = module_of(0.5, kind=kind)
    dropped = module.dropped(BATCH, epoch=1)
    assert 0 < dropped.sum() < 6
    noise = module.noise(BATCH, 1)
    with torch.no_grad():
        given, found = module.model(BATCH, noise), module.bits_per_dim(BATCH, epoch=1)
        all_dropped = module.model(BATCH, noise, torch.ones(6, dtype=torch.bool))
        assert torch.equal(found, torch.where(dropped, all_dropped, given))
        other = BATCH | {"label": (BATCH["label"] + 1) % 3, "condition": 4 - BATCH["condition"]}
        changed = module.bits_per_dim(other, epoch=1)
        assert torch.equal(changed == found, dropped)
        evaluated = module.bits_per_dim(BATCH)
        assert torch.equal(evaluated, module.model(BATCH, module.noise(BATCH, NO_EPOCH)))
    module.bits_per_dim(BATCH, epoch=1).mean().backward()
    assert module.model.conditioning.nothing.grad.abs().min() > 0


def test_no_dropout_keeps_the_weights_that_there_were() -> None:
    names = {share: set(model_of(condition_dropout=share).state_dict()) for share in (0.0, 0.1)}
    assert names[0.1] - names[0.0] == {"conditioning.nothing"}
    assert module_of(0.0).dropped(BATCH, epoch=0) is None


def test_a_loaded_model_is_guided_too() -> None:
    model = LoadedModel(model_of())
    plain, none, guided = (
        model.sample(4, label=1, seed=0, guidance=w, batch_size=2) for w in (None, 0, 3.0)
    )
    assert torch.equal(plain, none)
    assert not torch.equal(plain, guided)
    whole = model.sample(4, label=1, seed=0, guidance=3.0)
    assert torch.equal(whole, guided)


def unconditional() -> ImageModel:
    return ImageModel(FLOWS["tarflow"](SHAPE), UniformDequantizer(17, SHAPE))


@pytest.mark.parametrize(
    ("refused", "sentence"),
    [
        (
            lambda: drawn(model_of(), guidance=-1.0),
            "guidance: expected a weight of 0 or more, got -1.0.",
        ),
        (
            lambda: drawn(model_of(), guidance=float("nan")),
            "guidance: expected a weight of 0 or more, got nan.",
        ),
        (
            lambda: drawn(model_of(), guidance="high"),
            "guidance: expected a weight of 0 or more, got 'high'.",
        ),
        (
            lambda: drawn(model_of(condition_dropout=0.0), guidance=1.0),
            "guidance: expected 0 of a model that was trained without condition_dropout, got 1.0.",
        ),
        (
            lambda: model_of(condition_dropout=0.0, guidance=1.0),
            "guidance: expected 0 of a model that was trained without condition_dropout, got 1.0.",
        ),
        (
            lambda: unconditional().sample(2, guidance=1.0),
            "guidance: expected 0 of a model without a condition, got 1.0.",
        ),
        (
            lambda: LoadedModel(unconditional()).sample(2, guidance=1.0),
            "guidance: expected 0 of a model without a condition, got 1.0.",
        ),
        (
            lambda: model_of(condition_dropout=1.0),
            "condition_dropout: expected a share from 0 to below 1, got 1.0.",
        ),
    ],
)
def test_what_cannot_be_guided_is_refused(refused, sentence) -> None:
    with pytest.raises(AttnFlowError, match=re.escape(sentence)):
        refused()
