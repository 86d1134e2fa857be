"""The library's front door: integer images in and out, and one sentence for what does not fit."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from checkpoints import checkpoint
from torch import Tensor

import attnflow
from attnflow import AttnFlowError
from attnflow.data import DigitsDataModule, DigitsInpaintDataModule

KINDS = {
    "plain": [],
    "class": ["conditioning=class", "conditioning.context_channels=4"],
    "image": [
        "data=digits_inpaint",
        "conditioning=image",
        "conditioning.context_channels=4",
    ],
}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, attnflow.LoadedModel]:
    """One model of each conditioning."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    return {
        kind: attnflow.load(checkpoint(folder / f"{kind}.ckpt", *options))
        for kind, options in KINDS.items()
    }


@pytest.fixture(scope="module")
def digits() -> dict[str, Tensor]:
    """Ten test images, with their labels."""
    return {name: rows[:10] for name, rows in DigitsDataModule().dataset("test").fields.items()}


@pytest.fixture(scope="module")
def halves() -> dict[str, Tensor]:
    """Ten right halves of digits, with the left ones."""
    fields = DigitsInpaintDataModule().dataset("test").fields
    return {name: rows[:10] for name, rows in fields.items()}


def test_samples_are_integer_images(models) -> None:
    drawn = models["plain"].sample(7, temperature=0.5, seed=1)
    assert drawn.dtype == torch.uint8
    assert drawn.shape == (7, 1, 8, 8)
    assert int(drawn.max()) <= 16
    assert torch.equal(drawn, models["plain"].sample(7, temperature=0.5, seed=1))
    assert not torch.equal(drawn, models["plain"].sample(7, temperature=0.5, seed=2))
    assert torch.equal(drawn[:5], models["plain"].sample(5, temperature=0.5, seed=1, batch_size=2))


@pytest.mark.parametrize("label", [[1, 2, 3], (1, 2, 3), torch.tensor([1, 2, 3])])
def test_labels_come_as_numbers_lists_and_tensors(models, label) -> None:
    drawn = partial(models["class"].sample, 3, seed=0)
    assert torch.equal(drawn(label=label), drawn(label=torch.tensor([1, 2, 3], dtype=torch.uint8)))
    assert torch.equal(drawn(label=2), drawn(label=[2, 2, 2]))
    assert not torch.equal(drawn(label=2), drawn(label=3))


def test_conditions_come_as_one_image_or_one_each(models, halves) -> None:
    model, conditions = models["image"], halves["condition"]
    drawn = model.sample(2, condition=conditions[0], seed=0)
    assert torch.equal(drawn, model.sample(2, condition=conditions[:1].repeat(2, 1, 1, 1), seed=0))
    assert not torch.equal(drawn, model.sample(2, condition=conditions[3], seed=0))


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_an_encoding_gives_the_very_images(models, digits, halves, kind) -> None:
    fields = halves if kind == "image" else digits
    field = {"plain": None, "class": "label", "image": "condition"}[kind]
    given = {} if field is None else {field: fields[field]}
    latents = models[kind].encode(fields["image"], **given, batch_size=4)
    assert [tuple(latent.shape[1:]) for latent in latents] == models[kind].flow.latent_shapes
    back = models[kind].decode(latents, **given, batch_size=3)
    assert back.dtype == torch.uint8
    assert torch.equal(back, fields["image"])


def test_bits_per_dim_are_those_of_eval(command, tmp_path, digits) -> None:
    path = checkpoint(tmp_path / "model.ckpt")
    from conftest import results

    run = command("eval", f"ckpt_path={path}", "eval.pictures=[]", "eval.importance_samples=2")
    model = attnflow.load(path)
    images = DigitsDataModule().dataset("test").fields["image"]
    bits = model.bits_per_dim(images, batch_size=100)
    assert float(bits.mean()) == pytest.approx(results(run)["test/bpd"], abs=1e-5)
    tighter = model.bits_per_dim(images, importance_samples=2).mean()
    assert float(tighter) == pytest.approx(results(run)["test/bpd_importance"], abs=1e-5)
    torch.testing.assert_close(model.bits_per_dim(images[5:9], first=5), bits[5:9])


def test_a_run_folder_means_its_best_checkpoint(tmp_path) -> None:
    (tmp_path / "checkpoints").mkdir()
    checkpoint(tmp_path / "checkpoints" / "best.ckpt")
    assert attnflow.load(tmp_path).image_shape == (1, 8, 8)
    with pytest.raises(AttnFlowError, match=r"got a folder without checkpoints/best.ckpt"):
        attnflow.load(tmp_path / "checkpoints")


def test_a_path_that_the_system_refuses_is_told() -> None:
    with pytest.raises(AttnFlowError, match=r"checkpoint a{60}: expected the path of .*too long"):
        attnflow.load("a" * 5000)


def test_a_model_tells_what_it_is(models) -> None:
    told = repr(models["image"])
    assert "1 x 8 x 4 in 17 grey values" in told
    assert "a condition 1 x 8 x 4 in 17 grey values" in told
    assert "attention: imap" in told
    assert "placement: after_coupling" in told
    assert "a label from 0 to 9" in repr(models["class"])


def images(*shape: int, value: int = 0, dtype: torch.dtype = torch.uint8) -> Tensor:
    return torch.full(shape, value, dtype=dtype)


IMAGE, HALF, LABEL = images(2, 1, 8, 8), images(1, 1, 8, 4), images(1)


@pytest.mark.parametrize(
    ("kind", "call", "sentence"),
    [
        ("plain", lambda m: m.sample(-1), "n: expected a whole number of 1 or more, got -1."),
        ("plain", lambda m: m.sample("3"), "n: expected a whole number of 1 or more, got '3'."),
        ("plain", lambda m: m.sample(True), "n: expected a whole number of 1 or more, got True."),
        ("plain", lambda m: m.sample(1.5), "n: expected a whole number of 1 or more, got 1.5."),
        ("plain", lambda m: m.sample(2, temperature="0.5"), "of 0 or more, got '0.5'."),
        ("plain", lambda m: m.sample(2, temperature=-1.0), "of 0 or more, got -1.0."),
        ("plain", lambda m: m.sample(2, temperature=float("nan")), "of 0 or more, got nan."),
        (
            "plain",
            lambda m: m.sample(2, seed="a"),
            "seed: expected a whole number from 0 to 4294967295, got 'a'.",
        ),
        ("plain", lambda m: m.sample(2, temperature=1e300), "samples are finite, got 1e+300."),
        ("plain", lambda m: m.numbered_samples([0.5], 0), "numbers: expected a whole number of 0"),
        ("plain", lambda m: m.numbered_samples([-1], 0), "of 0 or more, got -1."),
        ("plain", lambda m: m.numbered_samples(range(-1, 3), 0), "of 0 or more, got -1."),
        ("plain", lambda m: m.numbered_samples([2**70], 0), f"of {2**62} or less, got {2**70}."),
        ("plain", lambda m: m.numbered_samples([], 0), "one whole number or more, got []."),
        ("plain", lambda m: m.numbered_samples(None, 0), "one whole number or more, got None."),
        ("plain", lambda m: m.numbered_samples("ab", 0), "one whole number or more, got 'ab'."),
        ("plain", lambda m: m.sample(2, label=3), "conditioned on nothing: expected None"),
        ("plain", lambda m: m.bits_per_dim(IMAGE, condition=IMAGE), "condition: this model is"),
        ("class", lambda m: m.sample(2), "label: this model is conditioned on label"),
        ("class", lambda m: m.sample(2, label=10), "whole numbers from 0 to 9, got 10."),
        ("class", lambda m: m.sample(2, label=-1), "whole numbers from 0 to 9, got -1."),
        ("class", lambda m: m.sample(2, label=[1, 2, 3]), "for each of 2 samples, got the shape"),
        ("class", lambda m: m.sample(2, label=1.0), "got 1.0."),
        ("class", lambda m: m.sample(2, label="3"), "or one for each of 2 samples, got '3'."),
        ("class", lambda m: m.sample(2, label=[]), "got []."),
        ("class", lambda m: m.encode(IMAGE, label=[[1, 2]]), "got the shape (1, 2)."),
        ("image", lambda m: m.sample(2, condition=3), "condition: expected a tensor (B, 1, 8, 4)"),
        ("image", lambda m: m.sample(2, condition=IMAGE), "got (2, 1, 8, 8)."),
        (
            "image",
            lambda m: m.sample(2, condition=images(3, 1, 8, 4)),
            "expected one image, or one for each of 2, got 3.",
        ),
        (
            "image",
            lambda m: m.sample(2, condition=images(1, 8, 4, value=17)),
            "whole numbers from 0 to 16, got 17.",
        ),
        (
            "image",
            lambda m: m.sample(2, condition=torch.rand(1, 8, 4)),
            "condition: expected whole numbers from 0 to 16 (torch.uint8), got torch.float32.",
        ),
        ("plain", lambda m: m.bits_per_dim(images(1, 8, 8)), "has a batch axis of 1 (x[None])."),
        ("plain", lambda m: m.bits_per_dim(images(2, 3, 8, 8)), "(B, 1, 8, 8), got (2, 3, 8, 8)."),
        ("plain", lambda m: m.bits_per_dim(images(0, 1, 8, 8)), "got an empty batch."),
        ("plain", lambda m: m.bits_per_dim(images(2, 1, 8, 8, value=255)), "got 255."),
        ("plain", lambda m: m.bits_per_dim(torch.rand(2, 1, 8, 8)), "got torch.float32."),
        ("plain", lambda m: m.bits_per_dim([IMAGE]), "images: expected a tensor (B, 1, 8, 8)"),
        ("plain", lambda m: m.bits_per_dim(IMAGE, importance_samples=0), "importance_samples"),
        ("plain", lambda m: m.encode(torch.zeros(2, 1, 8, 8).bool()), "got torch.bool."),
        ("plain", lambda m: m.decode([]), "expected 1 tensors of shapes 4, 4, 4, got 0."),
        ("plain", lambda m: m.decode(IMAGE), "latents: expected 1 tensors"),
        ("plain", lambda m: m.decode([IMAGE.float()]), "(B, 4, 4, 4), got (2, 1, 8, 8)."),
        ("plain", lambda m: m.decode([torch.full((1, 4, 4, 4), torch.nan)]), "finite values"),
        ("plain", lambda m: m.encode(IMAGE.to(torch.uint16)), "(torch.uint8), got torch.uint16."),
        ("plain", lambda m: m.encode(IMAGE.to(torch.uint64)), "(torch.uint8), got torch.uint64."),
        ("plain", lambda m: m.encode(IMAGE.to_sparse()), "images: expected a dense tensor"),
        ("plain", lambda m: m.encode(IMAGE.to("meta")), "of values, got a meta one."),
        ("class", lambda m: m.sample(1, label=LABEL.to(torch.uint32)), "of torch.uint32."),
        ("class", lambda m: m.sample(1, label=LABEL.to_sparse()), "label: expected a dense"),
        ("class", lambda m: m.sample(1, label=LABEL.to("meta")), "of values, got a meta one."),
        ("image", lambda m: m.sample(1, condition=HALF.to(torch.uint16)), "got torch.uint16."),
        ("image", lambda m: m.sample(1, condition=HALF.to("meta")), "condition: expected a dense"),
        ("plain", lambda m: m.bits_per_dim(IMAGE, first=0.5), "whole number of 0 or more, got 0.5"),
        ("plain", lambda m: m.bits_per_dim(IMAGE, first=True), "of 0 or more, got True."),
        ("plain", lambda m: m.bits_per_dim(IMAGE, first=float("nan")), "of 0 or more, got nan."),
        ("plain", lambda m: m.bits_per_dim(IMAGE, first=-1), "of 0 or more, got -1."),
        ("plain", lambda m: m.bits_per_dim(IMAGE, first=2**70), "or less, got 1180591620717411303"),
    ],
)
def test_what_does_not_fit_is_told_in_one_sentence(models, kind, call, sentence) -> None:
    with pytest.raises(AttnFlowError) as told:
        call(models[kind])
    assert sentence in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("path", [None, 3, b"model.ckpt"])
def test_what_is_no_path_is_named(path) -> None:
    with pytest.raises(AttnFlowError, match="path: expected the path of a checkpoint or of a run"):
        attnflow.load(path)


def test_trust_is_a_list(tmp_path) -> None:
    with pytest.raises(AttnFlowError, match=r"trust: expected a list of packages .* got 3"):
        attnflow.load(checkpoint(tmp_path / "model.ckpt"), trust=3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_that_are_too_coarse_are_refused(tmp_path, dtype) -> None:
    model = attnflow.load(checkpoint(tmp_path / "model.ckpt")).to(dtype)
    calls = [
        model.encode,
        model.bits_per_dim,
        lambda _: model.sample(2),
        lambda _: model.decode([]),
    ]
    for call in calls:
        with pytest.raises(AttnFlowError, match=f"weights: expected torch.float32 .* got {dtype}"):
            call(IMAGE)


def test_weights_of_double_precision_give_the_same_bits(tmp_path, digits) -> None:
    model = attnflow.load(checkpoint(tmp_path / "model.ckpt"))
    bits = model.bits_per_dim(digits["image"])
    torch.testing.assert_close(model.double().bits_per_dim(digits["image"]).float(), bits)
