"""What holds for every flow: one body, a line in FLOWS for each."""

from __future__ import annotations

import math
import re
from functools import partial

import pytest
import torch
from exactness import jacobian_log_det, make_context, randomise
from flow_kinds import ATTENTIONS, assert_close
from torch import Tensor

from attnflow import AttnFlowError, Context, Flow
from attnflow.flows import Glow, Jet, TarFlow
from attnflow.flows.compilation import compile_flow
from attnflow.flows.memory import MEMORY
from attnflow.nets import CausalTransformer, ViT
from attnflow.transforms import AffineCoupling, Autoregressive, MixLogCDFCoupling
from attnflow.transforms.maps import MixtureCDFMap

VIT = partial(ViT, width=8, num_heads=2, dropout=0.2)
CAUSAL = partial(CausalTransformer, width=8, num_heads=2)
MIXTURE = partial(Autoregressive, net=CAUSAL, map=MixtureCDFMap(2))
FLOWS = {
    "glow": partial(Glow, levels=1, steps=2, coupling=partial(AffineCoupling, net=VIT)),
    "jet": partial(Jet, steps=2, spatial_every=2, coupling=partial(AffineCoupling, net=VIT)),
    "jet, mixture": partial(
        Jet,
        steps=2,
        spatial_every=2,
        coupling=partial(MixLogCDFCoupling, net=VIT, num_components=2),
    ),
    "tarflow": partial(TarFlow, blocks=2, transformer=partial(Autoregressive, net=CAUSAL)),
    "tarflow, mixture": partial(TarFlow, blocks=2, transformer=MIXTURE),
    "tarflow, few levels": partial(
        TarFlow,
        blocks=2,
        grey_levels=4,
        transformer=partial(Autoregressive, net=partial(CAUSAL, width=8, rotary=True)),
    ),
    "tarflow, published": partial(
        TarFlow,
        blocks=2,
        actnorm=None,
        conv1x1=None,
        transformer=partial(Autoregressive, net=partial(CAUSAL, reach=0)),
    ),
}
KINDS = {"glow": FLOWS["glow"], "jet": FLOWS["jet"], "tarflow": FLOWS["tarflow"]}
# Images and what their flows are told of them.
SHAPES = [((1, 4, 4), {}), ((3, 2, 4), {}), ((2, 4, 2), {"patch_size": 1})]
SHAPE = (1, 4, 4)


def flow_of(name: str, shape: tuple[int, int, int] = SHAPE, **options) -> Flow:
    if name == "glow":
        options.pop("patch_size", None)
    flow = FLOWS[name](shape, **options)
    randomise(flow, 0.1)
    return flow.double().eval()


@pytest.mark.parametrize(("vector", "maps"), [(0, 0), (3, 0), (2, 3)])
@pytest.mark.parametrize(("shape", "options"), SHAPES)
@pytest.mark.parametrize("name", FLOWS)
def test_log_det_is_that_of_autograds_jacobian(name, shape, options, vector, maps) -> None:
    """To 1e-8, and round trips to 1e-10."""
    flow = flow_of(name, shape, context_channels=vector + maps, **options)
    size = flow.map_sizes[0]
    context = make_context(vector, maps, (1, *size))
    x = torch.rand(2, *shape).double()
    latents, log_det = flow(x, context)
    assert [z.shape[1:] for z in latents] == flow.latent_shapes

    def flat(x: Tensor, context: Context | None) -> tuple[Tensor]:
        return (torch.cat([z.flatten(1) for z in flow(x, context)[0]], 1),)

    expected = jacobian_log_det(flat, x, context)
    torch.testing.assert_close(log_det, expected, rtol=1e-8, atol=1e-8)
    back = flow.decode(flow.encode(x, context), context)
    torch.testing.assert_close(back, x, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("kind", "position"), [(kind, at) for kind in KINDS for at in KINDS[kind].func.POSITIONS]
)
@pytest.mark.parametrize("attention", [name for name in ATTENTIONS if name != "none"])
def test_every_attention_at_every_position_is_exact(kind, position, attention) -> None:
    """Under a condition."""
    options = {"attention": ATTENTIONS[attention], "placement": position}
    flow = flow_of(kind, context_channels=3, **options)
    kinds = {type(part).__name__ for part in flow.modules()}
    assert kinds & {"IMap", "ITrans"}
    context = make_context(3, 0, SHAPE, batch=1)
    x = torch.rand(1, *SHAPE).double()
    expected = jacobian_log_det(lambda x, c: (flow(x, c)[0][0],), x, context)
    torch.testing.assert_close(flow(x, context)[1], expected, rtol=1e-8, atol=1e-8)
    back = flow.decode(flow.encode(x, context), context)
    torch.testing.assert_close(back, x, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", FLOWS)
def test_less_memory_gives_the_same_gradients(name) -> None:
    """To 1e-9 in float64; with dropout, where the inverse can draw what the forward pass drew."""
    x, gradients = torch.rand(2, *SHAPE).double(), {}
    state = flow_of(name).state_dict()
    for memory in MEMORY:
        flow = flow_of(name, memory=memory)
        flow.load_state_dict(state)
        flow.train()
        torch.manual_seed(7)  # of dropout
        (-flow.log_prob(x).mean()).backward()
        gradients[memory] = {key: p.grad for key, p in flow.named_parameters()}
    for memory in ("checkpoint", "reversible"):
        assert_close(gradients[memory], gradients["none"], 1e-9)


def test_reversible_transformers_cannot_drop_out() -> None:
    """Token by token, the inverse would draw other numbers than all at once."""
    net = partial(CAUSAL, dropout=0.1)
    options = {"transformer": partial(Autoregressive, net=net), "blocks": 1}
    TarFlow(SHAPE, memory="checkpoint", **options)
    with pytest.raises(AttnFlowError, match="memory: expected none or checkpoint where"):
        TarFlow(SHAPE, memory="reversible", **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOWS)
def test_compiles_without_graph_breaks(name) -> None:
    torch._dynamo.reset()
    flow, x = flow_of(name).float(), torch.rand(2, *SHAPE)
    expected = flow.log_prob(x)
    compile_flow(flow, backend="eager")
    torch.testing.assert_close(flow.log_prob(x), expected, rtol=1e-5, atol=1e-4)
    torch._dynamo.reset()


@pytest.mark.parametrize("name", FLOWS)
def test_autocast_keeps_maps_and_determinants_in_float32(name) -> None:
    """Nets may compute in half precision, and the density stays near that of full precision."""
    flow, x = flow_of(name).float(), torch.rand(2, *SHAPE)
    expected = flow.log_prob(x)
    with torch.autocast("cpu", torch.bfloat16):
        log_prob = flow.log_prob(x)
    assert log_prob.dtype == torch.float32
    torch.testing.assert_close(log_prob, expected, rtol=0.02, atol=0.5)


@pytest.mark.parametrize("name", FLOWS)
def test_samples_do_not_depend_on_the_batch(name) -> None:
    flow = flow_of(name)
    one, several = (
        flow.sample(5, generator=torch.Generator().manual_seed(3), batch_size=size)
        for size in (2, 5)
    )
    torch.testing.assert_close(one, several, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["tarflow", "tarflow, mixture"])
def test_a_tiny_flows_density_integrates_to_one(name) -> None:
    """Over a square of two pixels' values that holds all but a millionth."""
    flow = FLOWS[name]((1, 1, 2), patch_size=1)
    randomise(flow, 0.2)
    flow = flow.double().eval()
    side = torch.linspace(-12, 12, 601).double()
    points = torch.cartesian_prod(side, side).view(-1, 1, 1, 2)
    with torch.no_grad():
        total = sum(flow.log_prob(part).exp().sum() for part in points.split(200_000))
    assert math.isclose(float(total) * float(side[1] - side[0]) ** 2, 1, abs_tol=1e-3)


def test_the_first_block_reads_where_in_its_grey_level_a_value_lies() -> None:
    """Whatever the level: what it reads beside the value itself repeats from level to level."""
    flow = TarFlow(SHAPE, blocks=2, grey_levels=4, patch_size=1)
    first, second = (part for part in flow.modules() if isinstance(part, CausalTransformer))
    assert len(first.waves) == 4
    assert not second.waves
    with torch.no_grad():  # the values themselves, and the waves over all levels
        first.embedding.weight.zero_()
        first.wave_embedding.weight.unflatten(1, (2, 4, -1))[:, :, :2] = 0
    levels, noise = torch.randint(4, (2, 16, 1)), torch.rand(16, 1)
    tokens = (((levels + noise) / 4).double() - 0.5) * math.sqrt(12)
    (ours, others), _ = first.double()._inputs(tokens, slice(0, 16), None)
    torch.testing.assert_close(ours, others, rtol=1e-6, atol=1e-6)
    (moved, _), _ = first._inputs(tokens + 0.1, slice(0, 16), None)
    assert (ours[1:] - moved[1:]).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (partial(TarFlow, (1, 6, 4), patch_size=4), "patch_size: expected a divisor of both sides"),
        (partial(Jet, (1, 6, 4), patch_size=4), "patch_size: expected a divisor of both sides"),
        (partial(TarFlow, (1, 4, 4), patch_size=4), "that leaves two patches or more, got 4"),
        (partial(Jet, (3, 4, 4), patch_size=1), "num_channels: expected an even number"),
        (partial(TarFlow, SHAPE, placement="after_coupling"), "placement position: expected one"),
        (partial(Jet, SHAPE, placement="level_end"), "placement position: expected one of"),
        (partial(TarFlow, SHAPE, orders=[]), "orders: expected a list of one order or more"),
        (partial(TarFlow, SHAPE, orders="raster"), "orders: expected a list of one order"),
        (partial(TarFlow, SHAPE, orders=["snake"]), "order: expected one of raster"),
        (partial(TarFlow, SHAPE, blocks=0), "blocks: expected a whole number of 1 or more, got 0"),
        (partial(TarFlow, SHAPE, grey_levels=1), "grey_levels: expected a whole number of 2 or"),
        (partial(Jet, SHAPE, steps=0), "steps: expected a whole number of 1 or more, got 0"),
        (
            partial(TarFlow, SHAPE, context_channels=2, conditions=["prior"]),
            "conditions: expected one or more of transformer, actnorm, conv1x1, attention, got",
        ),
        (
            partial(Jet, SHAPE, context_channels=2, conditions=["map"]),
            "a transform of conditions: expected one of actnorm",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, sentence) -> None:
    with pytest.raises(AttnFlowError, match=re.escape(sentence)):
        make()
