"""One test body for all transforms: a new transform is one line in TRANSFORMS."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from itertools import cycle

import pytest
import torch
from exactness import assert_exact, assert_runs_on_meta, make_context, randomise

from attnflow.errors import AttnFlowError
from attnflow.nets import ConvNet, GatedResNet
from attnflow.transforms import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    AttentionCoupling,
    AttentionSequence,
    Centre,
    IMap,
    InvertibleConv1x1,
    ITrans,
    MixLogCDFCoupling,
    Squeeze,
    Step,
    Transform,
)
from attnflow.transforms.priors import (
    GaussianPrior,
    MultiScaleAutoregressivePrior,
    SplitGaussianPrior,
)

SMALL_NET = partial(ConvNet, hidden_channels=8)
# A square, a wide and a tall image, one of a single 2 x 2 patch.
EVEN_SHAPES = [(4, 4, 4), (2, 2, 6), (6, 4, 2), (8, 2, 2)]
# One channel, an odd number of channels, a single row, one odd side.
ODD_SHAPES = [(1, 5, 5), (3, 3, 5), (6, 1, 3), (2, 3, 4)]
# A single 3 x 3 patch, a row and a column of them, a square of them in one channel.
P3_SHAPES = [(2, 3, 3), (2, 3, 6), (3, 6, 3), (1, 6, 6)]
# Channels of a vector and of maps.
CONTEXTS = [(0, 0), (3, 0), (2, 3)]


def step(num_channels: int, context_channels: int = 0) -> Step:
    make = {"actnorm": ActNorm, "conv1x1": InvertibleConv1x1, "second": ActNorm}
    return Step(
        {name: kind(num_channels, context_channels=context_channels) for name, kind in make.items()}
    )


TRANSFORMS = {
    "actnorm": (ActNorm, EVEN_SHAPES + ODD_SHAPES),
    "conv1x1": (InvertibleConv1x1, EVEN_SHAPES + ODD_SHAPES),
    "conv1x1_permutation": (
        partial(InvertibleConv1x1, start="permutation"),
        EVEN_SHAPES + ODD_SHAPES,
    ),
    "step": (step, EVEN_SHAPES + ODD_SHAPES),
    "affine": (partial(AffineCoupling, net=SMALL_NET), [*EVEN_SHAPES, (4, 3, 3), (2, 5, 3)]),
    "additive": (partial(AdditiveCoupling, net=SMALL_NET), [*EVEN_SHAPES, (4, 3, 3), (2, 5, 3)]),
    "mixlogcdf": (
        partial(MixLogCDFCoupling, num_components=3, net=SMALL_NET),
        [*EVEN_SHAPES, (4, 3, 3), (2, 5, 3)],
    ),
    "affine_gated_resnet": (
        partial(
            AffineCoupling,
            net=partial(GatedResNet, hidden_channels=8, attention_heads=2, weight_norm=True),
        ),
        EVEN_SHAPES,
    ),
    "gaussian_prior": (GaussianPrior, EVEN_SHAPES + ODD_SHAPES),
    "split_gaussian_prior": (SplitGaussianPrior, EVEN_SHAPES + ODD_SHAPES),
    "mar_prior": (
        partial(MultiScaleAutoregressivePrior, hidden_channels=6),
        EVEN_SHAPES + ODD_SHAPES,
    ),
}
ATTENTIONS = {
    "imap": (IMap, EVEN_SHAPES + ODD_SHAPES),
    "imap_kernel3": (partial(IMap, kernel_size=3), EVEN_SHAPES + ODD_SHAPES),
    "imap_global": (partial(IMap, global_context=True), EVEN_SHAPES + ODD_SHAPES),
    "imap_channel": (partial(IMap, mask="channel"), EVEN_SHAPES),
    "imap_spatial": (partial(IMap, mask="spatial"), EVEN_SHAPES + ODD_SHAPES),
    "itrans_p1": (partial(ITrans, patch_size=1), EVEN_SHAPES + ODD_SHAPES),
    "itrans_p1_heads": (partial(ITrans, patch_size=1, num_heads=2), [(4, 4, 4), (5, 3, 3)]),
    "itrans_p2": (ITrans, EVEN_SHAPES),
    "itrans_p2_heads": (partial(ITrans, num_heads=3), EVEN_SHAPES),
    "itrans_p2_positive": (partial(ITrans, signed=False), EVEN_SHAPES),
    "itrans_p2_channel": (partial(ITrans, mask="channel", num_heads=2), EVEN_SHAPES),
    "itrans_p2_spatial": (partial(ITrans, mask="spatial"), EVEN_SHAPES),
    "itrans_p1_channel": (partial(ITrans, mask="channel", patch_size=1), EVEN_SHAPES),
    "itrans_p3": (partial(ITrans, patch_size=3), P3_SHAPES),
    "itrans_p3_spatial": (partial(ITrans, patch_size=3, mask="spatial"), P3_SHAPES),
    "itrans_position": (partial(ITrans, position_embedding="both"), EVEN_SHAPES),
    "itrans_p3_position": (partial(ITrans, patch_size=3, position_embedding="both"), P3_SHAPES),
    "itrans_p1_relative": (
        partial(ITrans, patch_size=1, position_embedding="relative"),
        EVEN_SHAPES + ODD_SHAPES,
    ),
    "itrans_coarse": (partial(ITrans, mask="coarse", patch_size=1), EVEN_SHAPES),
    "itrans_p2_coarse": (partial(ITrans, mask="coarse"), EVEN_SHAPES),
    "imap_coarse": (partial(IMap, mask="coarse"), EVEN_SHAPES),
    "reading": (AttentionCoupling, EVEN_SHAPES + ODD_SHAPES),
    "itrans_reading": (
        partial(
            AttentionSequence,
            attentions={
                "mixing": partial(ITrans, patch_size=1, mask="coarse", position_embedding="both"),
                "reading": partial(AttentionCoupling, mask="coarse"),
            },
        ),
        EVEN_SHAPES,
    ),
    "imap_reading": (
        partial(AttentionSequence, attentions={"map": IMap, "reading": AttentionCoupling}),
        EVEN_SHAPES,
    ),
    "causal_p1": (
        partial(ITrans, variant="causal", patch_size=1, position_embedding="both"),
        EVEN_SHAPES + ODD_SHAPES,
    ),
    "causal_p2_heads": (partial(ITrans, variant="causal", num_heads=3), EVEN_SHAPES),
    "causal_p2_channel": (partial(ITrans, variant="causal", mask="channel"), EVEN_SHAPES),
    "causal_p3": (partial(ITrans, variant="causal", patch_size=3), P3_SHAPES),
    "linear_p1": (
        partial(ITrans, variant="linear", patch_size=1, position_embedding="absolute", rank=3),
        EVEN_SHAPES + ODD_SHAPES,
    ),
    "linear_p2_heads": (partial(ITrans, variant="linear", num_heads=3), EVEN_SHAPES),
    "linear_p2_channel": (partial(ITrans, variant="linear", mask="channel", rank=2), EVEN_SHAPES),
    "linear_p3": (partial(ITrans, variant="linear", patch_size=3), P3_SHAPES),
}


def cases(table: dict, *settings: tuple) -> list:
    """Every transform at each of its shapes, with each of the settings in turn."""
    turns = cycle(settings)
    return [
        pytest.param(make, shape, *setting, id=f"{name}-{'x'.join(map(str, shape))}-{setting}")
        for name, (make, shapes) in table.items()
        for shape, setting in zip(shapes, turns, strict=False)
    ]


@pytest.mark.parametrize(("make", "shape", "vector", "maps"), cases(TRANSFORMS, *CONTEXTS))
def test_transform_is_exact(make, shape, vector, maps) -> None:
    transform = make(shape[0], context_channels=vector + maps)
    # A mixture of far, narrow logistics is flat between them, beyond what float64 can invert.
    randomise(transform, 0.1 if isinstance(transform, MixLogCDFCoupling) else 0.5)
    assert_exact(transform, torch.randn(2, *shape), make_context(vector, maps, shape))


@pytest.mark.parametrize("parity", [0, 1])
@pytest.mark.parametrize(("make", "shape", "vector", "maps"), cases(ATTENTIONS, (0, 0), (2, 3)))
def test_attention_is_exact(make, shape, vector, maps, parity) -> None:
    attention = make(shape[0], parity=parity, image_size=shape[1:], context_channels=vector + maps)
    randomise(attention)
    assert_exact(attention, torch.randn(2, *shape), make_context(vector, maps, shape))


def made(name: str, context_channels: int = 0) -> tuple[Transform, tuple[int, int, int]]:
    """A transform of the tables for its first shape, and that shape."""
    make, (shape, *_) = (TRANSFORMS | ATTENTIONS)[name]
    place = {"image_size": shape[1:]} if name in ATTENTIONS else {}
    return make(shape[0], context_channels=context_channels, **place), shape


@pytest.mark.parametrize(("vector", "maps"), CONTEXTS)
@pytest.mark.parametrize("name", [*TRANSFORMS, *ATTENTIONS])
def test_every_transform_runs_on_the_meta_device(name, vector, maps) -> None:
    """Where a tensor that is made on another device fails, and a value that is read back."""
    transform, shape = made(name, vector + maps)
    with torch.device("meta"):
        transforms = [transform.to("meta"), made(name, vector + maps)[0]]
        context = make_context(vector, maps, shape)
        for each in transforms:
            # A mixture's inverse iterates until it is exact.
            inverts = not isinstance(each, MixLogCDFCoupling)
            assert_runs_on_meta(each.double(), torch.randn(2, *shape).double(), context, inverts)


@pytest.mark.parametrize("name", [*TRANSFORMS, *ATTENTIONS])
def test_a_deep_copy_is_a_transform_of_its_own(name) -> None:
    transform, shape = made(name)
    transform.eval()
    copied = deepcopy(transform)
    x = torch.randn(2, *shape)
    torch.testing.assert_close(copied(x), transform(x), rtol=0, atol=0)
    mine, theirs = (
        {tensor.data_ptr() for tensor in (*each.parameters(), *each.buffers())}
        for each in (transform, copied)
    )
    assert not mine & theirs


@pytest.mark.parametrize("shape", EVEN_SHAPES)
def test_squeeze_is_exact(shape) -> None:
    assert_exact(Squeeze(), torch.randn(2, *shape))


def test_centre_is_exact_and_standardises_even_values() -> None:
    assert_exact(Centre(), torch.randn(2, 2, 3, 5))
    values = Centre()(torch.linspace(0, 1, 10_001).view(1, 1, 1, -1))[0]
    torch.testing.assert_close(values.mean(), torch.tensor(0.0), rtol=0, atol=1e-4)
    torch.testing.assert_close(values.std(), torch.tensor(1.0), rtol=0, atol=1e-3)


def test_squeeze_refuses_odd_sides() -> None:
    with pytest.raises(AttnFlowError, match="5 x 4"):
        Squeeze()(torch.zeros(1, 1, 5, 4))


@pytest.mark.parametrize("make", [AffineCoupling, AdditiveCoupling])
def test_coupling_refuses_odd_channels(make) -> None:
    with pytest.raises(AttnFlowError, match=r"num_channels: .* got 3"):
        make(3)
