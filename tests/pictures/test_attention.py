"""Attention maps: what they hold, and that every kind of flow can draw them."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from drawn import COUPLING, batch_of, model_of
from exactness import randomise
from flow_kinds import ATTENTIONS

from attnflow import Glow
from attnflow.flows import TarFlow
from attnflow.models.dequantization import UniformDequantizer
from attnflow.models.image_model import ImageModel
from attnflow.nets import CausalTransformer
from attnflow.pictures.attention import MARK, attention_maps, attention_picture, attention_rows
from attnflow.pictures.sheet import pixels
from attnflow.transforms import Autoregressive, IMap, ITrans


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"patch_size": 1, "num_heads": 2}, (4, 5, 3)),
        ({"patch_size": 1, "mask": "spatial"}, (4, 4, 6)),
        ({"patch_size": 1, "mask": "coarse"}, (4, 4, 6)),
        ({"patch_size": 2, "num_heads": 3, "variant": "causal"}, (4, 4, 6)),
        ({"patch_size": 3, "variant": "linear", "rank": 3}, (4, 3, 9)),
        ({"patch_size": 2, "mask": "channel", "variant": "linear"}, (4, 4, 6)),
    ],
)
def test_rows_are_those_of_the_weights(options, shape) -> None:
    attention = ITrans(shape[0], shape[1:], **options)
    randomise(attention, 1.0)
    x, p = torch.randn(2, *shape), attention.patch_size
    rows, columns = shape[1] // p, shape[2] // p
    found, tokens = attention_rows(attention, x, [(0.1, 0.1), (0.9, 0.5)])
    assert found.shape == (2, attention.num_heads, 2, rows, columns)
    weights, layout = attention.mixing(x).weights(), attention.layout
    valid = torch.ones_like(layout.tokens) if layout.valid is None else layout.valid
    for query, (row, column) in enumerate(tokens.tolist()):
        group, at = ((layout.tokens == row * columns + column) & valid.bool()).nonzero()[0]
        real = valid[group].sum()
        expected = torch.full((2, attention.num_heads, rows * columns), torch.nan)
        expected[..., layout.tokens[group, :real]] = weights[:, group, :, at, :real]
        torch.testing.assert_close(found[:, :, query].flatten(2), expected, equal_nan=True)
        torch.testing.assert_close(
            found[:, :, query].nansum((2, 3)), torch.ones(2, attention.num_heads)
        )


def test_asked_tokens_are_the_nearest() -> None:
    attention = ITrans(4, (8, 8), patch_size=2, mask="channel")
    places = [(0.0, 0.99), (0.5, 0.3), (0.9, 0.1)]
    _, tokens = attention_rows(attention, torch.randn(1, 4, 8, 8), places)
    assert tokens.tolist()[0] == [0, 3]
    assert tokens.tolist()[1][1] == 1
    assert tokens.tolist()[2] == [3, 0]


@pytest.mark.parametrize("conditioning", [None, "class", "image"])
@pytest.mark.parametrize(
    "attention",
    [
        IMap,
        partial(IMap, kernel_size=3, global_context=True),
        ATTENTIONS["dense"],
        ATTENTIONS["reading"],
        partial(ITrans, patch_size=1, num_heads=2, variant="causal"),
        partial(ITrans, patch_size=1, variant="linear", rank=3),
    ],
)
def test_every_flow_with_attention_has_a_picture(attention, conditioning) -> None:
    shape = (3, 8, 12)
    model = model_of(shape, attention, conditioning)
    batch = batch_of(shape, 4)
    picture = attention_picture(model, batch)
    shown = pixels(picture)
    assert 0 <= shown.min() < shown.max() <= 1
    one = attention_picture(model, {name: rows[:1] for name, rows in batch.items()})
    assert one.get_figheight() == picture.get_figheight()
    wide, narrow = (max(i.get_extent()[1] for i in p.axes[0].images) for p in (picture, one))
    assert narrow < wide
    marked = ((shown - MARK).abs() < 0.01).all(0).any()
    asking = any(isinstance(m, ITrans) for m in model.flow.modules())
    assert bool(marked) == asking
    title = picture.axes[0].texts[0].get_text()
    assert title.startswith("Where the attention of the boxed token" if asking else "The weight")


def test_maps_see_what_the_attention_sees() -> None:
    """The map, computed beside the flow, times the attention's input is its output."""
    model = model_of((1, 4, 4), IMap, levels=1)
    attention = model.flow.levels[0].transforms.step_1.attention_after_coupling
    seen = []
    attention.register_forward_hook(lambda _, inputs, outputs: seen.append((inputs, outputs)))
    maps = attention_maps(model, batch_of((1, 4, 4), 3))
    assert [each.title for each in maps] == [
        "level 0\nstep 0\nafter coupling",
        "level 0\nstep 1\nafter coupling",
    ]
    ((x, _), (z, _)) = seen[0]
    transformed = ~attention.mask
    expected = (maps[1].weights * x)[:, transformed]
    torch.testing.assert_close(z[:, transformed], expected)


def test_a_flow_without_attention_has_no_picture() -> None:
    assert attention_picture(model_of((1, 4, 4), None), batch_of((1, 4, 4), 2)) is None


def test_a_picture_of_many_attentions_stays_small() -> None:
    model = model_of((1, 8, 8), partial(ITrans, patch_size=1, num_heads=2), levels=2)
    batch = batch_of((1, 8, 8), 2)
    few = attention_picture(model, batch)
    assert len(attention_maps(model, batch)) == 8
    many = Glow((1, 8, 8), levels=2, steps=8, coupling=COUPLING, attention=IMap)
    model = ImageModel(many.eval(), UniformDequantizer(17, (1, 8, 8)))
    rows = [len(each.axes[0].images) for each in (few, attention_picture(model, batch))]
    assert rows == [9, 9]


@pytest.mark.parametrize("attention", [IMap, partial(ITrans, patch_size=1)])
def test_a_flow_that_went_non_finite_is_drawn_all_the_same(attention) -> None:
    model = model_of((1, 8, 8), attention)
    model.flow.levels[0].transforms.step_0.actnorm.shift.data.fill_(torch.nan)
    assert torch.isfinite(pixels(attention_picture(model, batch_of((1, 8, 8), 2)))).all()


def test_transformers_of_a_flow_are_drawn_too() -> None:
    """Every layer and head of a causal net, later tokens left out."""
    net = partial(CausalTransformer, width=4, depth=2, num_heads=2)
    flow = TarFlow((1, 8, 8), blocks=2, transformer=partial(Autoregressive, net=net))
    model = ImageModel(flow, UniformDequantizer(4, (1, 8, 8))).eval()
    batch = {"image": torch.randint(4, (2, 1, 8, 8)), "index": torch.arange(2)}
    maps = attention_maps(model, batch)
    assert [each.title for each in maps[:5]] == [
        "block 0\ntransformer\nhead 0",
        "block 0\ntransformer\nhead 1",
        "block 0\ntransformer\nlayer 1\nhead 0",
        "block 0\ntransformer\nlayer 1\nhead 1",
        "block 1\ntransformer\nhead 0",
    ]
    for number, each in enumerate(maps):
        assert each.weights.shape == (2, 3, 4, 4)
        torch.testing.assert_close(each.weights.nansum((2, 3)), torch.ones(2, 3))
        for asked, (row, column) in enumerate(each.tokens.tolist()):
            unread = each.weights[0, asked].isnan().flatten()
            places = torch.arange(16)
            later = places > 4 * row + column if number < 4 else places < 4 * row + column
            assert torch.equal(unread, later)
    assert attention_picture(model, batch) is not None
