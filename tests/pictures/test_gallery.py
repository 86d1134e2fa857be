"""The pictures of an evaluation: what they hold, for every kind of model, with few images."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT, results
from drawn import batch_of, model_of
from omegaconf import OmegaConf
from torchvision.io import decode_image

from attnflow import AttnFlowError
from attnflow.data import TensorImages
from attnflow.pictures import neighbours
from attnflow.pictures.curves import curves_picture
from attnflow.pictures.gallery import PICTURES, Evaluated, check_options, draw
from attnflow.pictures.levels import DRAWS, resampled_levels
from attnflow.pictures.neighbours import nearest_neighbours, neighbours_picture
from attnflow.pictures.sheet import save_picture
from attnflow.runs.results import read_curve
from attnflow.transforms import IMap

OPTIONS = OmegaConf.load(ROOT / "conf" / "eval.yaml").eval
ALWAYS = {"samples", "levels", "neighbours", "attention"}
FITTING = {
    None: {"temperatures", "interpolation"},
    "class": {"temperatures", "transfer"},
    "image": {"conditions", "transfer"},
}


def subject_of(shape, conditioning, num_test: int, run_dir: Path, **options) -> Evaluated:
    def split(size: int) -> TensorImages:
        fields = batch_of(shape, size)
        return TensorImages(fields.pop("image").to(torch.uint8), **fields)

    splits = {"train": split(20), "test": split(num_test)}
    data = SimpleNamespace(dataset=splits.__getitem__, entropy=None)
    model = model_of(shape, IMap, conditioning)
    return Evaluated(model, data, OmegaConf.merge(OPTIONS, options), run_dir)


@pytest.mark.parametrize("num_test", [1, 5])
@pytest.mark.parametrize("shape", [(1, 4, 8), (3, 8, 4)])
@pytest.mark.parametrize("conditioning", FITTING)
def test_every_model_has_its_pictures(tmp_path, conditioning, shape, num_test) -> None:
    subject = subject_of(shape, conditioning, num_test, tmp_path, num_samples=9)
    drawn = draw(subject, tmp_path / "samples")
    expected = ALWAYS | FITTING[conditioning]
    if num_test == 1:
        expected -= {"interpolation"}  # there is no pair
    assert set(drawn) == expected
    for name in drawn:
        path = tmp_path / "samples" / f"{name}.png"
        assert decode_image(str(path)).float().std() > 5, name
    for distance in subject.figures.values():
        assert 0 < distance < 10


def test_every_option_is_a_picture_and_only_those_asked_for_are_drawn(tmp_path) -> None:
    assert list(OPTIONS.pictures) == list(PICTURES)
    subject = subject_of((1, 4, 4), None, 3, tmp_path, pictures=["levels"])
    assert list(draw(subject, tmp_path)) == ["levels"]
    assert [path.name for path in tmp_path.glob("*.*")] == ["levels.png"]
    assert subject.figures == {}


@pytest.mark.parametrize("conditioning", [None, "class", "image"])
def test_every_picture_says_what_is_seen_in_every_format(tmp_path, conditioning) -> None:
    """A title, and words as words in PDF and SVG; the same picture is the same file."""
    subject = subject_of((1, 4, 4), conditioning, 3, tmp_path, formats=["pdf", "svg", "png"])
    drawn = draw(subject, tmp_path / "one")
    assert len(drawn) >= 3
    for name, picture in drawn.items():
        axes = picture.axes[0]
        title = axes.get_title(loc="left") or axes.texts[0].get_text()
        assert len(title) > 8, name
        assert (tmp_path / "one" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert "<svg" in (tmp_path / "one" / f"{name}.svg").read_text()
        assert decode_image(str(tmp_path / "one" / f"{name}.png")).shape[0] == 3
        save_picture(picture, tmp_path / "two" / name, ["pdf", "png"])
        for kind in ("pdf", "png"):
            one, two = (tmp_path / each / f"{name}.{kind}" for each in ("one", "two"))
            assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"pictures": ["sample"]}, "a picture of eval.pictures: expected one of samples, "),
        ({"num_searched": 0}, "eval.num_searched: expected 1 or more, got 0."),
        ({"samples_per_condition": 1}, "samples_per_condition: expected 2 or more, got 1."),
        ({"importance_samples": 1.5}, "eval.importance_samples: expected a whole number, got 1.5."),
        (
            {"num_interpolations": "few"},
            "eval.num_interpolations: expected a whole number, got 'few'.",
        ),
        ({"num_samples": None}, "eval.num_samples: expected a whole number, got None"),
        (
            {"formats": ["jpg"]},
            "a format of eval.formats: expected one of png, pdf, svg",
        ),
        ({"formats": []}, "eval.formats: expected a list of some of png, pdf, svg"),
        (
            {"temperatures": [True]},
            "a temperature of eval.temperatures: expected a number, got True.",
        ),
    ],
)
def test_wrong_options_are_named(option, sentence) -> None:
    with pytest.raises(AttnFlowError, match=sentence):
        check_options(OmegaConf.merge(OPTIONS, option))


@pytest.mark.parametrize("name", ["pictures", "formats", "temperatures"])
@pytest.mark.parametrize("value", [None, "samples", 0.5])
def test_lists_of_options_are_lists(name, value) -> None:
    options = OmegaConf.create(OmegaConf.to_container(OPTIONS) | {name: value})
    with pytest.raises(AttnFlowError, match=rf"eval\.{name}: expected a list, \[\] for none"):
        check_options(options)


@pytest.mark.parametrize("options", [None, "samples", 3])
def test_options_are_those_of_the_config(options) -> None:
    with pytest.raises(AttnFlowError, match=r"eval: expected the options of conf/eval\.yaml"):
        check_options(options)


def test_a_level_drawn_anew_leaves_the_other_latents() -> None:
    # Near enough to the identity to invert to a thousandth in float32.
    model, batch = model_of((1, 8, 8), IMap, levels=3, scale=0.02), batch_of((1, 8, 8), 2)
    half = torch.full(batch["image"].shape, 0.5)
    # Latents are continuous: look at them before they become integers again.
    decoded = []
    model.dequantizer.quantize = lambda y: decoded.append(y) or y.long()
    latents = model.flow.encode(model.dequantizer(batch["image"], half)[0])
    for level in range(3):
        for others in (False, True):
            resampled_levels(model, batch, level, others)
            again = model.flow.encode(decoded.pop())
            for number, (old, new) in enumerate(zip(latents, again, strict=True)):
                same = torch.allclose(old.repeat_interleave(DRAWS, 0), new, atol=1e-3)
                assert same == ((number == level) == others)


def test_neighbours_are_the_nearest_of_all(monkeypatch) -> None:
    monkeypatch.setattr(neighbours, "BATCH_VALUES", 48 * 1000)  # several batches
    images = torch.randint(256, (3000, 3, 4, 4), dtype=torch.uint8)
    asked = torch.cat([images[[2900, 7]], torch.randint(256, (5, 3, 4, 4), dtype=torch.uint8)])
    found = nearest_neighbours(asked, TensorImages(images), 256, 10_000)
    assert found.searched == 3000
    assert found.distances[:2].tolist() == [0, 0]  # copies, exactly
    assert torch.equal(found.nearest[:2], found.images[:2])
    exact = (asked.double().flatten(1)[:, None] - images.double().flatten(1)).norm(dim=2) / 255
    expected = exact.min(1).values.sort().values
    torch.testing.assert_close(found.distances.double(), expected, rtol=1e-4, atol=1e-5)
    some = nearest_neighbours(asked, TensorImages(images), 256, 30)
    assert some.searched == 30
    assert some.mean_distance > found.mean_distance
    assert "the closest first" in neighbours_picture(found, some, 256).axes[0].texts[0].get_text()


def test_curves_join_the_files_of_a_resumed_run(tmp_path) -> None:
    for version, text in enumerate(
        (
            "epoch,step,train/bpd,val/bpd\n0,1,5.0,\n0,2,4.0,\n0,2,,4.5\n1,3,nan,\n",
            "epoch,step,train/bpd,val/bpd\n1,3,3.5,\n1,4,3.0,\n1,4,,3.25\n",
        )
    ):
        folder = tmp_path / "csv" / f"version_{version}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text(text)
    assert read_curve(tmp_path, "train/bpd") == ([1, 2, 3, 4], [5.0, 4.0, 3.5, 3.0])
    assert read_curve(tmp_path, "val/bpd") == ([2, 4], [4.5, 3.25])
    assert read_curve(tmp_path, "val/fid") == ([], [])
    labels = curves_picture(tmp_path, 2.4).axes[0].get_legend_handles_labels()[1]
    assert labels == ["train/bpd, a batch", "val/bpd", "entropy"]
    assert curves_picture(tmp_path / "nowhere") is None


def test_eval_draws_the_pictures_of_a_run(train, command) -> None:
    run_dir = train("debug=fast", "attention=itrans")
    evaluation = command("eval", f"ckpt_path={run_dir}/checkpoints/best.ckpt")
    drawn = {path.stem for path in (evaluation / "samples").iterdir()}
    assert drawn == ALWAYS | FITTING[None] | {"curves"}
    figures = results(evaluation)
    assert figures["images_per_second"] > 0
    assert figures["test/nearest_neighbour_distance"] > 0
    assert figures["test/nearest_neighbour_distance_real"] > 0


def test_a_picture_that_fails_is_named_and_the_others_are_drawn(
    tmp_path, monkeypatch, caplog
) -> None:
    def fail(subject: Evaluated) -> None:
        raise OSError(28, "No space left on device")

    subject = subject_of((1, 4, 4), None, 3, tmp_path, pictures=["levels", "curves", "samples"])
    path = tmp_path / "csv" / "metrics.csv"
    path.parent.mkdir()
    path.write_bytes(b"\xff\x00")
    monkeypatch.setitem(PICTURES, "levels", fail)
    assert list(draw(subject, tmp_path / "samples")) == ["samples"]
    assert [record.getMessage() for record in caplog.records] == [
        "picture levels is left out: OSError: [Errno 28] No space left on device",
        f"picture curves is left out: {path}: expected a table of numbers, got the byte 0xff, "
        "which is no UTF-8.",
    ]


def test_an_evaluation_of_a_run_with_a_garbled_log_writes_its_numbers(
    train, command, capsys
) -> None:
    run_dir = train()
    next(run_dir.rglob("metrics.csv")).write_text("step,val/bpd\n1,low\n")
    checkpoint = f"ckpt_path={run_dir}/checkpoints/best.ckpt"
    evaluation = command("eval", checkpoint, "eval.pictures=[curves]")
    assert results(evaluation)["test/bpd"] == pytest.approx(results(run_dir)["test/bpd"], abs=1e-4)
    told = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
    assert len(told) == 1
    assert "metrics.csv: expected a table of numbers, got 'low' under val/bpd in line 2" in told[0]
