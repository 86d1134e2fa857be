"""The whole flow: exact density, placement of attention, sampling."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from exactness import make_context, randomise
from torch import Tensor

from attnflow import AttnFlowError, Context, Glow, Placement
from attnflow.nets import ConvNet
from attnflow.transforms import AffineCoupling, IMap, ITrans

COUPLING = partial(AffineCoupling, net=partial(ConvNet, hidden_channels=8))
ATTENTIONS = {
    "imap": IMap,
    "itrans": partial(ITrans, patch_size=1, position_embedding="both"),
    "itrans_heads": partial(ITrans, patch_size=1, num_heads=2, mask="channel"),
}


def small_flow(image_shape=(1, 4, 4), levels=2, steps=2, **arguments) -> Glow:
    flow = Glow(image_shape, levels, steps, coupling=COUPLING, **arguments)
    randomise(flow, 0.1)
    return flow.double().eval()


def flat_latents(flow: Glow, x: Tensor, context: Context | None = None) -> Tensor:
    return torch.cat([latent.flatten(1) for latent in flow.encode(x, context)], 1)


@pytest.mark.parametrize("placement", Glow.POSITIONS)
@pytest.mark.parametrize("attention", ATTENTIONS.values(), ids=ATTENTIONS)
def test_log_prob_is_exact(attention, placement) -> None:
    flow = small_flow(attention=attention, placement=placement)
    x = torch.rand(1, 1, 4, 4).double()
    matrix = torch.autograd.functional.jacobian(
        lambda v: flat_latents(flow, v.view(1, 1, 4, 4))[0], x.flatten()
    )
    base = torch.distributions.Normal(0, 1).log_prob(flat_latents(flow, x)).sum()
    expected = base + torch.linalg.slogdet(matrix).logabsdet
    torch.testing.assert_close(flow.log_prob(x)[0], expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 8, 4), (2, 4, 12)])
@pytest.mark.parametrize("attention", [None, *ATTENTIONS.values()])
def test_decode_inverts_encode(attention, shape) -> None:
    flow = small_flow(shape, attention=attention, placement="after_coupling")
    x = torch.rand(3, *shape).double()
    torch.testing.assert_close(flow.decode(flow.encode(x)), x, rtol=1e-9, atol=1e-9)


def test_conditional_flow_depends_on_its_context() -> None:
    flow = small_flow(attention=IMap, context_channels=5)
    levels = [make_context(2, 3, (1, side, side)) for side in (2, 1)]
    context = Context(levels[0].vector, tuple(level.maps[0] for level in levels))
    other = Context(context.vector + 1, context.maps)
    x = torch.rand(2, 1, 4, 4).double()
    assert (flow.log_prob(x, context) - flow.log_prob(x, other)).abs().min() > 1e-3
    torch.testing.assert_close(flow.decode(flow.encode(x, context), context), x)


@pytest.fixture(scope="module")
def trained_flow() -> Glow:
    """A density of four correlated pixels, in float64."""
    torch.manual_seed(1)
    flow = Glow((1, 2, 2), levels=1, steps=3, attention=IMap, coupling=COUPLING)
    data = torch.rand(512, 1).sqrt() + 0.15 * torch.randn(512, 4)
    data = data.view(-1, 1, 2, 2)
    flow.initialize(data)
    optimizer = torch.optim.Adam(flow.parameters(), 5e-3)
    losses = []
    for _ in range(200):
        loss = -flow.log_prob(data).mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.5  # it did learn the correlation
    return flow.double()


@pytest.fixture(scope="module")
def masses(trained_flow) -> tuple[Tensor, Tensor]:
    """log p on a grid, and the probability of each of its cells: both (30, 30, 30, 30).

    A midpoint rule converges fast for a smooth density that vanishes at the borders.
    """
    axis = torch.linspace(-0.9, 2.1, 31).double()
    middles, width = (axis[1:] + axis[:-1]) / 2, axis[1] - axis[0]
    grid = torch.cartesian_prod(*[middles] * 4)
    with torch.no_grad():
        parts = [trained_flow.log_prob(part.view(-1, 1, 2, 2)) for part in grid.split(100_000)]
    log_p = torch.cat(parts).view(30, 30, 30, 30)
    return log_p, log_p.exp() * width**4


@pytest.mark.slow
def test_density_of_a_trained_flow_integrates_to_one_and_has_its_samples_entropy(
    trained_flow, masses
) -> None:
    log_p, mass = masses
    assert abs(mass.sum() - 1) < 0.01
    # Samples come from this very density: its entropy, by the grid, is the mean of -log p.
    with torch.no_grad():
        of_samples = -trained_flow.log_prob(trained_flow.sample(20_000))
    entropy = -(mass * log_p).sum()
    standard_error = of_samples.std() / len(of_samples) ** 0.5
    assert abs(of_samples.mean() - entropy) < 4 * standard_error + 0.01


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [(0, 1), (0, 3), (1, 2)])
def test_samples_follow_the_density(trained_flow, masses, pixels) -> None:
    """How many of them fall into each of 6 x 6 squares of two pixels' values, by chi-square."""
    x = trained_flow.sample(20_000, generator=torch.Generator().manual_seed(0)).flatten(1)
    rows = ((x[:, pixels] + 0.9) / 0.5).long().clamp(0, 5)
    counts = torch.bincount(6 * rows[:, 0] + rows[:, 1], minlength=36)
    others = [axis for axis in range(4) if axis not in pixels]
    expected = masses[1].sum(others).view(6, 5, 6, 5).sum((1, 3)).flatten() * len(x)
    often = expected >= 5
    chi_square = ((counts - expected).square() / expected)[often].sum()
    freedom = int(often.sum())
    assert freedom > 10
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5


def test_sampling_is_reproducible_whatever_the_batch_size() -> None:
    flow = small_flow(attention=IMap)

    def draw(n: int, **options) -> Tensor:
        return flow.sample(n, generator=torch.Generator().manual_seed(3), **options)

    whole = draw(6)
    assert len(whole.flatten(1).unique(dim=0)) == 6
    for batch_size in (1, 2, 4):
        torch.testing.assert_close(draw(6, batch_size=batch_size), whole)
    torch.testing.assert_close(draw(2), whole[:2])
    torch.testing.assert_close(draw(3, numbers=[4, 1, 2]), whole[[4, 1, 2]])
    generator = torch.Generator().manual_seed(3)
    torch.testing.assert_close(flow.sample(6, generator=generator), whole)
    assert (flow.sample(6, generator=generator) - whole).abs().min() > 0
    cold = flow.sample(2, temperature=0.0)
    torch.testing.assert_close(cold[0], cold[1])


def test_initialize_normalises_every_step() -> None:
    flow = Glow((3, 8, 8), levels=2, steps=2, coupling=COUPLING)
    assert not flow.initialized
    flow.initialize(10 + 5 * torch.rand(64, 3, 8, 8))
    assert flow.initialized
    latents = flow.encode(10 + 5 * torch.rand(64, 3, 8, 8))
    for latent in latents:
        assert latent.mean().abs() < 0.2
        assert 0.7 < latent.std() < 1.3


def test_eval_mode_never_initialises() -> None:
    flow = Glow((1, 4, 4), coupling=COUPLING).eval()
    before = {name: value.clone() for name, value in flow.state_dict().items()}
    flow.log_prob(torch.rand(4, 1, 4, 4))
    flow.sample(2)
    for name, value in flow.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_parities_alternate() -> None:
    flow = Glow((1, 8, 8), steps=3, attention=IMap, coupling=COUPLING)
    parities = [m.parity for m in flow.modules() if isinstance(m, IMap)]
    assert parities == [1, 0, 1, 0, 1, 0]


def test_repr_shows_the_architecture() -> None:
    text = repr(Glow((1, 8, 8), attention=IMap, placement="level_end", coupling=COUPLING))
    assert "level 1" in text
    assert text.count("IMap") == 2
    assert "ActNorm(4) -> InvertibleConv1x1(4) -> AffineCoupling" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_shape": (1, 6, 8), "levels": 2}, "6 x 8"),
        (
            {"image_shape": (1, 8, 8), "levels": 0},
            "levels: expected a whole number of 1 or more, got 0",
        ),
        (
            {"image_shape": (1, 8, 8), "steps": 0},
            "steps: expected a whole number of 1 or more, got 0",
        ),
        ({"image_shape": (1, 8, 8), "placement": "nowhere"}, "'nowhere'"),
        ({"image_shape": (1, 8, 8), "placement": Placement(levels=[2])}, r"\[2\]"),
        (
            {"image_shape": (1, 8, 8), "attention": partial(ITrans, patch_size=4)},
            "patch_size: .* got 4",
        ),
    ],
)
def test_bad_architectures_are_named(arguments, message) -> None:
    with pytest.raises(AttnFlowError, match=message):
        Glow(**arguments)


def test_bad_sampling_is_named() -> None:
    flow = small_flow()
    with pytest.raises(AttnFlowError, match=r"number of samples: expected .* got 0\."):
        flow.sample(0)
    with pytest.raises(AttnFlowError, match=r"temperature: expected .* got -1\."):
        flow.sample(1, temperature=-1)
    with pytest.raises(
        AttnFlowError, match="context: expected None with context_channels=0, got a Context"
    ):
        flow.log_prob(torch.rand(1, 1, 4, 4).double(), Context(torch.zeros(1, 2)))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda f, x: f.log_prob((255 * x).to(torch.uint8)), "expected continuous values of"),
        (lambda f, x: f.log_prob(x.float()), "expected torch.float64 as the flow's weights"),
        (lambda f, x: f.log_prob(torch.rand(2, 1, 8, 8)), "(B, 1, 4, 4), got (2, 1, 8, 8)."),
        (lambda f, x: f.encode(x.expand(-1, 3, -1, -1)), "(B, 1, 4, 4), got (2, 3, 4, 4)."),
        (lambda f, x: f.encode(x[0]), "got (1, 4, 4); a single one has a batch axis of 1"),
        (lambda f, x: f.log_prob(x[:0]), "got an empty batch."),
        (lambda f, x: f.log_prob([x]), "x: expected a tensor (B, 1, 4, 4), got a list."),
        (lambda f, x: f.log_prob(x.to("meta")), "expected values on cpu, where the flow is, got"),
        (lambda f, x: f.log_prob(x.bool()), "got torch.bool"),
        (lambda f, x: f.decode([]), "latents: expected"),
        (lambda f, x: f.decode(f.encode(x)[0]), "latents: expected"),
        (lambda f, x: f.decode([x, *f.encode(x)[1:]]), "the latent of level 0: expected the shape"),
        (lambda f, x: f.sample(-1), "expected a whole number of 1 or more, got -1."),
        (lambda f, x: f.sample("3"), "expected a whole number of 1 or more, got '3'."),
        (lambda f, x: f.sample(2, batch_size=0), "batch_size: expected a whole number"),
        (lambda f, x: f.sample(2, temperature="0.5"), "temperature: expected a number of 0 or"),
        (lambda f, x: f.sample(2, temperature=float("nan")), "got nan."),
        (lambda f, x: f.sample(2, temperature=10**309), f"expected a number of {2**62} or less"),
    ],
)
def test_what_a_flow_does_not_take_is_told_in_one_sentence(call, sentence) -> None:
    flow = small_flow()
    with pytest.raises(AttnFlowError) as told:
        call(flow, torch.rand(2, 1, 4, 4).double())
    assert sentence in str(told.value)


@pytest.mark.parametrize(
    ("context", "sentence"),
    [
        (None, "the flow's context: expected a Context with context_channels=3, got None"),
        (torch.zeros(2, 3), "context: expected an attnflow.Context, got a Tensor."),
        (Context(torch.zeros(5, 3)), "context: expected 2 rows"),
        (Context(torch.zeros(2, 4)), "context: expected 3 channels, got 4."),
        (Context(maps=(torch.zeros(2, 3, 4, 4),) * 3), "expected 1 feature maps, got 3."),
        (Context(), "context: expected a vector or maps, got a Context of neither."),
        (
            Context([[0.0, 0.0, 0.0]]),
            "vector of the context: expected a tensor (B, D), got a list.",
        ),
        (
            Context(torch.tensor(1.0)),
            "the vector of the context: expected a tensor (B, D), got ().",
        ),
        (Context(torch.zeros(2, 1, 3)), "expected a tensor (B, D), got (2, 1, 3)."),
        (Context(torch.zeros(2, 3).double()), "expected torch.float32 as the flow's weights, got"),
        (Context(torch.zeros(2, 3).long()), "as the flow's weights, got torch.int64."),
        (Context(torch.zeros(2, 3).to("meta")), "expected values on cpu, where the flow is, got"),
        (Context(torch.zeros(2, 3).to_sparse()), "context: expected a dense tensor"),
        (Context(maps=torch.zeros(1, 2, 3, 2, 2)), "maps as a tuple of tensors, got a Tensor."),
        (
            Context(maps=(None,)),
            "map of level 0 of the context: expected a tensor (B, F, H, W), got N",
        ),
        (Context(maps=(torch.zeros(2, 3, 2),)), "expected a tensor (B, F, H, W), got (2, 3, 2)."),
        (Context(maps=(torch.zeros(2, 3, 0, 2),)), "(B, F, H, W), got (2, 3, 0, 2)."),
        (
            Context(torch.zeros(2, 1), (torch.zeros(3, 2, 2, 2),)),
            "the map of level 0 of the context: expected 2 rows, one for each sample, got 3.",
        ),
    ],
)
def test_a_context_that_does_not_fit_is_told(context, sentence) -> None:
    flow = Glow((1, 4, 4), levels=1, steps=1, context_channels=3)
    latents = flow.encode(torch.rand(2, 1, 4, 4), Context(torch.zeros(2, 3)))
    for call in (
        lambda: flow.log_prob(torch.rand(2, 1, 4, 4), context),
        lambda: flow.decode(latents, context),
        lambda: flow.sample(2, context),
    ):
        with pytest.raises(AttnFlowError) as told:
            call()
        assert sentence in str(told.value)


class NoTransform(torch.nn.Module):
    """An attention from elsewhere."""

    def __init__(self, channels: int, parity: int, image_size: tuple, context_channels: int):
        super().__init__()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"attention": NoTransform}, "attention: expected an object of attnflow.transforms.base."),
        (
            {"attention": torch.nn.Identity()},
            "that makes one, got a Identity.",
        ),
        ({"attention": "imap"}, "attention: expected a class or a function, got 'imap'."),
        ({"attention": IMap(4, (2, 2))}, "that makes one, got a IMap."),
        (
            {"coupling": torch.nn.BatchNorm2d},
            "coupling: expected what can be called with (int,",
        ),
        ({"prior": lambda n, **_: torch.nn.Identity()}, "prior: expected an object of attnflow.tr"),
        ({"actnorm": lambda n, **_: None}, "got one of builtins.NoneType."),
    ],
)
def test_what_is_no_transform_is_told_by_its_part(arguments, sentence) -> None:
    with pytest.raises(AttnFlowError) as told:
        Glow((1, 4, 4), levels=1, steps=1, **arguments)
    assert sentence in str(told.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"image_shape": (3, 8)}, r"image_shape: expected \(channels, height, width\)"),
        ({"image_shape": None}, "image_shape: .* got None"),
        ({"image_shape": "388"}, "image_shape: .* got '388'"),
        ({"image_shape": (1, 8.0, 8)}, "image_shape's height: expected a whole number of 1"),
        ({"image_shape": (1, 8, -8)}, "image_shape's width: .* got -8"),
        ({"image_shape": (0, 8, 8)}, "image_shape's channels: .* got 0"),
        ({"levels": 2.0}, "levels: .* got 2.0"),
        ({"steps": "4"}, "steps: .* got '4'"),
        ({"steps": True}, "steps: .* got True"),
        (
            {"context_channels": -1},
            "context_channels: expected a whole number of 0 or more, got -1",
        ),
        ({"placement": 3}, "placement: expected a Placement, .* got 3"),
        ({"placement": None}, "placement: expected a Placement, .* got None"),
        ({"placement": ["after_coupling", 3]}, "placement positions: expected the name .* got 3"),
        ({"attention": partial(ITrans, num_heads="4")}, "num_heads: .*, got '4'"),
        ({"attention": partial(ITrans, patch_size=2.0)}, "patch_size: .*, got 2.0"),
        ({"attention": partial(ITrans, key_channels="8")}, "key_channels: .*, got '8'"),
    ],
)
def test_arguments_of_another_type_are_named(options, sentence) -> None:
    with pytest.raises(AttnFlowError, match=sentence):
        Glow(**{"image_shape": (1, 8, 8), **options})


def test_a_temperature_is_any_real_number() -> None:
    flow = small_flow()
    drawn = [
        flow.sample(3, temperature=value, generator=torch.Generator().manual_seed(0))
        for value in (0.5, Fraction(1, 2), np.float32(0.5))
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


def test_a_generator_of_another_type_is_named() -> None:
    with pytest.raises(AttnFlowError, match=r"generator: expected a torch\.Generator or None"):
        Glow((1, 8, 8)).sample(2, None, 1.0, 3)
