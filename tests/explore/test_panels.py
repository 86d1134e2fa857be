"""What the panels of the page show, without a browser."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from opened import TESTS, opened_of
from PIL import Image

from attnflow import AttnFlowError
from attnflow.explore.charts import compare_table, histogram_chart, round_numbers, sentence
from attnflow.explore.comparing import compared
from attnflow.explore.drawing import Draw, draw
from attnflow.explore.looking import layers, look, place_of, shown_image
from attnflow.explore.picked import Pick, picked
from attnflow.explore.resampling import level_names, resampled
from attnflow.explore.scoring import verdict_on
from attnflow.explore.walk import walk
from attnflow.transforms import IMap, ITrans

KINDS = [None, "class", "image"]
FIELDS = {"class": "label", "image": "condition"}


@pytest.mark.parametrize("conditioning", KINDS)
def test_samples_are_those_of_the_seed(conditioning) -> None:
    opened = opened_of(conditioning=conditioning)
    images = draw(opened, Draw(5, 0.8, 3))
    assert images.shape == (5, 1, 8, 8)
    assert torch.equal(images[:2], draw(opened, Draw(2, 0.8, 3)))
    assert not torch.equal(images, draw(opened, Draw(5, 0.8, 4)))
    if conditioning is None:
        assert torch.equal(images, opened.loaded.sample(5, temperature=0.8, seed=3))


def test_samples_are_of_the_class_or_of_all_in_turn() -> None:
    opened = opened_of(conditioning="class")
    turns = opened.loaded.sample(5, [0, 1, 2, 0, 1], seed=0)
    assert torch.equal(draw(opened, Draw(5)), turns)
    assert torch.equal(draw(opened, Draw(5, label=2)), opened.loaded.sample(5, 2, seed=0))


def test_samples_are_drawn_for_an_uploaded_condition(tmp_path) -> None:
    opened = opened_of(conditioning="image")
    Image.new("L", (8, 8), 255).save(tmp_path / "white.png")
    white = torch.full((1, 8, 8), 16, dtype=torch.uint8)
    drawn = draw(opened, Draw(3, condition=tmp_path / "white.png"))
    assert torch.equal(drawn, opened.loaded.sample(3, condition=white, seed=0))


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (Draw(65), "number of images: expected a number from 1 to 64, got 65."),
        (Draw(4, 2.5), "temperature: expected a number from 0 to 2, got 2.5."),
        (Draw(4, float("nan")), "temperature: expected a number from 0 to 2, got nan."),
        (Draw(4, seed=-1), "seed: expected a whole number from 0"),
        (Draw(4, label=3), "class: expected one from 0 to 2, got 3."),
        (Draw(4, guidance=11.0), "guidance: expected a number from 0 to 10, got 11.0."),
    ],
)
def test_a_wish_beyond_its_bounds_is_refused(wish, told) -> None:
    with pytest.raises(AttnFlowError, match=told):
        draw(opened_of(conditioning="class"), wish)


def test_an_upload_needs_what_the_model_is_conditioned_on(tmp_path) -> None:
    Image.new("L", (8, 8), 255).save(tmp_path / "white.png")
    upload = Pick(tmp_path / "white.png")
    assert int(picked(opened_of(), upload)["image"].min()) == 16
    with pytest.raises(AttnFlowError, match="class: expected one from 0 to 2, got 'none chosen'"):
        picked(opened_of(conditioning="class"), upload)
    with pytest.raises(AttnFlowError, match="condition: expected an image beside the uploaded"):
        picked(opened_of(conditioning="image"), upload)
    both = Pick(tmp_path / "white.png", condition=tmp_path / "white.png")
    assert picked(opened_of(conditioning="image"), both)["condition"].shape == (1, 1, 8, 8)
    labelled = picked(opened_of(conditioning="class"), Pick(tmp_path / "white.png", label=2))
    assert labelled["label"].tolist() == [2]


def test_a_test_image_keeps_its_class_unless_another_is_chosen() -> None:
    opened = opened_of(conditioning="class")
    assert picked(opened, Pick(number=4))["label"].tolist() == [1]
    assert picked(opened, Pick(number=4, label=0))["label"].tolist() == [0]
    with pytest.raises(AttnFlowError, match=f"test image: expected a whole number from 0 to {11}"):
        picked(opened, Pick(number=TESTS))


@pytest.mark.parametrize("conditioning", KINDS)
def test_a_walk_begins_and_ends_at_the_images(conditioning) -> None:
    opened = opened_of(conditioning=conditioning)
    first, second = (picked(opened, Pick(number=number)) for number in (1, 2))
    images = walk(opened, first, second, 5)
    assert torch.equal(images[0], first["image"][0])
    assert torch.equal(images[-1], second["image"][0])
    assert not torch.equal(images[2], images[0])
    with pytest.raises(AttnFlowError, match="number of steps: expected a number from 2 to 24"):
        walk(opened, first, second, 25)


def test_variants_keep_what_is_not_drawn_anew() -> None:
    opened = opened_of(conditioning="class", attention=None)
    batch = picked(opened, Pick(number=1))
    names = level_names(opened)
    assert names == [f"{level}: 32 of 64 values" for level in range(len(names))]
    for row in resampled(opened, batch, 0, seed=1):
        assert torch.equal(row[0], batch["image"][0].long())
        again = opened.loaded.encode(row[1:].to(torch.uint8), [1] * (len(row) - 1))
        assert len(again) == len(names)
    with pytest.raises(AttnFlowError, match="level: expected one of 0, 1, got 2"):
        resampled(opened, batch, 2, seed=1)


@pytest.mark.parametrize("conditioning", KINDS)
def test_a_test_image_scores_as_in_an_evaluation(conditioning) -> None:
    opened = opened_of(conditioning=conditioning)
    batch = picked(opened, Pick(number=5))
    given = {} if conditioning is None else {FIELDS[conditioning]: batch[FIELDS[conditioning]]}
    expected = float(opened.loaded.bits_per_dim(batch["image"], first=5, **given))
    verdict = verdict_on(opened, batch)
    assert verdict.bits == pytest.approx(expected, abs=1e-5)
    assert verdict.tests is not None
    assert len(verdict.tests) == 8  # of the 12, as many as the options say
    below = int((verdict.tests < verdict.bits).sum())
    rows = dict(verdict.rows())
    assert rows["bits/dim"] == f"{expected:.3f}"
    assert rows["test images with fewer"] == f"{below} of 8"


def test_an_image_is_scored_where_the_test_images_are_not(tmp_path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "black.png")
    opened = opened_of(missing="no such folder")
    verdict = verdict_on(opened, picked(opened, Pick(tmp_path / "black.png")))
    assert verdict.tests is None
    assert verdict.missing == "the test images of tiny: ValueError: no such folder"
    assert "test images with fewer" not in dict(verdict.rows())


@pytest.mark.parametrize("attention", [IMap, partial(ITrans, patch_size=1)])
def test_a_click_asks_the_token_under_it(attention) -> None:
    opened = opened_of(attention=attention)
    batch = picked(opened, Pick(number=0))
    names = layers(opened, batch)
    assert len(names) > 1
    assert len(set(names)) == len(names)
    picture = shown_image(opened, batch)
    place = place_of(opened, picture.shape[1] - 1, 0)
    assert place == pytest.approx((1, 0), abs=0.01)
    found = look(opened, batch, names[0], place)
    assert found.picture.shape == picture.shape
    if attention is IMap:
        assert found.words.startswith("One weight for every position")
    else:
        assert found.words.startswith("Token 3, 0 of 4 x 4 (framed) asks")
        other = look(opened, batch, names[0], (0, 0))
        assert not torch.equal(other.picture, found.picture)
    with pytest.raises(AttnFlowError, match="layer: expected one of level 0"):
        look(opened, batch, "level 9")


def test_a_model_without_attention_is_told() -> None:
    opened = opened_of()
    with pytest.raises(AttnFlowError, match="tiny: expected a model with attention"):
        layers(opened, picked(opened, Pick()))


def test_models_are_compared_on_the_same_images() -> None:
    first, second = opened_of(name="a"), opened_of(name="b", attention=IMap, seed=1)
    found = compared(first, second)
    differing = {fact.name for fact in found.facts if fact.differs}
    assert differing == {"attention", "parameters", "bits/dim of test images"}
    assert "prior" not in {fact.name for fact in found.facts}  # which neither flow has
    apart = second.test_scores.bits - first.test_scores.bits
    assert f"the second takes {float(apart.mean()):+.3f} ± " in found.words
    assert f"fewer on {int((apart < 0).sum())} of them" in found.words
    table = compare_table(found.facts, ("a", "<b>"))
    assert "&lt;b&gt;" in table
    assert table.count('class="differs"') == 3


def test_models_of_other_images_are_not_subtracted() -> None:
    found = compared(opened_of(), opened_of((3, 8, 8)))
    assert found.words == "The two have other test images: their bits/dim are not to be compared."
    missing = compared(opened_of(), opened_of(missing="no such folder", name="b"))
    assert list(missing.bits) == ["1: tiny"]
    assert missing.words == "the test images of b: ValueError: no such folder"


def test_a_chart_has_a_bar_where_values_are_and_a_line_at_the_image() -> None:
    values = torch.tensor([1.0, 1.0, 1.0, 2.0])
    chart = histogram_chart({"<test>": values}, "bits/dim", {"this image": 3.0})
    assert chart.count("<rect") == 2
    assert "this image 3.000" in chart
    assert "&lt;test&gt;: 4 images, mean 1.250" in chart
    assert "<test>" not in chart
    same = histogram_chart({"a": torch.ones(3)}, "bits/dim", {"b": 1.0})  # no range to speak of
    assert same.count("<rect") == 1


def test_ticks_are_round() -> None:
    assert round_numbers(1.13, 2.71) == [1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6]
    assert round_numbers(0, 5) == [0, 1, 2, 3, 4, 5]


def test_words_are_no_markup() -> None:
    assert "<script>" not in sentence("<script>", "error")
    assert sentence("") == ""
