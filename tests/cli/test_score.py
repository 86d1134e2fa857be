"""``attnflow score``: a row an image, and what tells other images apart."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import results, run_script
from PIL import Image
from refusals import refused
from torchvision.io import write_png

from attnflow import AttnFlowError, load
from attnflow.data import DigitsDataModule, ImageDataModule, Mnist5kDataModule
from attnflow.data.given import given_images
from attnflow.metrics.images import fetch, to_uint8
from attnflow.metrics.outliers import detection
from attnflow.metrics.scores import codec_bits_per_dim

SMALL = ["data=photos", "data.size=8", "model.levels=2", "callbacks.pictures=null"]


@pytest.fixture
def score(monkeypatch, tmp_path):
    """Runs the command with these options; returns the table's path."""

    def run(*arguments: str, out: str = "scores.csv") -> Path:
        monkeypatch.chdir(tmp_path)
        folder = f"hydra.run.dir=score_{len(list(tmp_path.glob('score_*')))}"
        run_script(monkeypatch, "score", "device=cpu", f"out={out}", folder, *arguments)
        return tmp_path / out

    return run


def table(path: Path) -> dict[str, list]:
    """The columns of a table, numbers where they are."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    names = {"name": [row["name"] for row in rows]}
    return names | {n: [float(row[n]) for row in rows] for n in rows[0] if n != "name"}


def test_the_mean_of_the_test_images_is_that_of_an_evaluation(train, score) -> None:
    run_dir = train("model.levels=2", "conditioning=class")
    columns = table(score(f"ckpt_path={run_dir}", "importance_samples=3", "batch_size=100"))
    assert np.mean(columns["bpd"]) == pytest.approx(results(run_dir)["test/bpd"], abs=1e-6)
    assert len(columns["name"]) == 297
    parts = [columns[name] for name in ("latent_bpd_0", "latent_bpd_1", "volume_bpd")]
    assert np.allclose(np.sum(parts, 0), columns["bpd"], atol=1e-5)
    assert np.mean(columns["bpd_importance"]) < np.mean(columns["bpd"])
    assert 0.5 < np.mean(columns["latent_norm_0"]) < 2


def test_a_folder_and_an_array_of_the_same_images_score_the_same(train, score, tmp_path) -> None:
    run_dir = train(*SMALL, "test=false")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    for number, image in enumerate(images):
        (tmp_path / "images" / str(number)).mkdir(parents=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "images" / f"{number}/x.png")
    of_folder = table(score(f"ckpt_path={run_dir}", "images=images", out="a.csv"))
    of_array = table(score(f"ckpt_path={run_dir}", "images=images.npy", out="b.csv"))
    assert of_folder.pop("name") == [f"{number}/x.png" for number in range(5)]
    assert of_array.pop("name") == list("01234")
    assert of_folder == of_array
    expected = load(run_dir).bits_per_dim(torch.from_numpy(images))
    assert np.allclose(of_array["bpd"], expected.numpy(), atol=1e-6)
    assert json.loads((tmp_path / "a.json").read_text())["images"] == 5
    assert Image.open(tmp_path / "a.png").width > 400


def test_other_images_are_told_apart(train, score, tmp_path) -> None:
    """Noise has far more bits than photographs, also than a codec's; a constant image fewer."""
    run_dir = train(*SMALL, "test=false", "trainer.max_epochs=8", "trainer.limit_train_batches=20")
    rng = np.random.default_rng(0)
    np.save(tmp_path / "noise.npy", rng.integers(0, 256, (50, 3, 8, 8), dtype=np.uint8))
    noise = score(f"ckpt_path={run_dir}", "against=noise.npy", out="noise.csv")
    told = json.loads(noise.with_suffix(".json").read_text())
    assert told["against_images"] == 50
    assert told["bpd/auroc"] > 0.95
    assert told["typicality/auroc"] > 0.95
    assert set(told) >= {f"complexity/{n}" for n in ("auroc", "aupr", "fpr_at_95")}
    np.save(tmp_path / "flat.npy", np.full((50, 3, 8, 8), 128, np.uint8))
    flat = score(f"ckpt_path={run_dir}", "against=flat.npy", out="flat.csv")
    assert json.loads(flat.with_suffix(".json").read_text())["bpd/auroc"] < 0.5
    # The name of a data set, with its options.
    other = ["against=photos", "against.size=8"]
    same = score(f"ckpt_path={run_dir}", *other, out="same.csv")
    assert json.loads(same.with_suffix(".json").read_text())["bpd/auroc"] == pytest.approx(0.5)


def test_other_data_is_scored_as_in_training(train, score, tmp_path) -> None:
    run_dir = train(*SMALL, "test=false")
    told = refused(score, f"ckpt_path={run_dir}", "data=digits")
    assert "the data: expected image_shape (3, 8, 8)" in told
    columns = table(score(f"ckpt_path={run_dir}", "data=photos", "data.size=8"))
    assert len(columns["bpd"]) > 100


def images_of(data: ImageDataModule) -> torch.Tensor:
    rows = data.dataset("test")
    return fetch(rows, range(len(rows)))["image"]


def test_another_data_set_is_made_to_fit(train, score, tmp_path) -> None:
    """As the same images of a folder are, whose grey values stand for the model's."""
    run_dir = train("test=false", "data=mnist5k", "data.num_bits=4", "model.levels=2")
    options = [f"ckpt_path={run_dir}", "images=files", "resize=true"]
    folder = tmp_path / "files"
    folder.mkdir()
    data = DigitsDataModule()
    digits = to_uint8(images_of(data), data.spec.num_bins)
    for number, image in enumerate(digits[:20]):
        write_png(image, str(folder / f"{number:02d}.png"))
    files = table(score(*options, out="files.csv"))["bpd"]
    both = [f"ckpt_path={run_dir}", "data=digits", "resize=true", "against=photos"]
    other = score(*both, out="digits.csv")
    assert table(other)["bpd"][:20] == pytest.approx(files, rel=1e-5)
    assert json.loads(other.with_suffix(".json").read_text())["against_images"] > 100


def test_images_of_a_padded_model_are_padded_as_in_training(train, score, tmp_path) -> None:
    run_dir = train("test=false", "data=mnist5k", "model.levels=2")
    held = table(score(f"ckpt_path={run_dir}", out="test.csv"))["bpd"]
    data = Mnist5kDataModule(padding=0)
    np.save(tmp_path / "test.npy", images_of(data).numpy())
    given = table(score(f"ckpt_path={run_dir}", "images=test.npy", out="given.csv"))["bpd"]
    assert given == pytest.approx(held, rel=1e-6)


def test_several_arrays_under_the_name_of_one_are_refused(tmp_path) -> None:
    np.savez(tmp_path / "several.npz", a=np.zeros((2, 1, 8, 8), np.uint8))
    path = (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    with pytest.raises(AttnFlowError, match=r"images: expected an \.npy file of whole numbers"):
        given_images("images", path, (1, 8, 8), 17)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["images=nowhere"], "images: expected a folder of images or an .npy file, got"),
        (["images=empty"], "images: expected images below"),
        (["images=text.npy"], "images: expected an .npy file of whole numbers"),
        (["images=floats.npy"], "images: expected whole numbers of shape (N, 1, 8, 8)"),
        (["images=large.npy"], "the array: expected grey values from 0 to 16, the model's, got"),
        (["images=other"], "expected 8 x 8 pixels, as the model's images have, or resize=true"),
        (["images=depth"], "expected the model's 17 grey values spread over 0 to 255, or resize"),
        (["images=other", "data.num_workers=1"], "images: expected null beside options of data"),
        (["images=other", "data=photos"], "images: expected null beside options of data"),
        (["against=nowhere"], "against: expected a folder of images or an .npy file, got"),
        (["out=scores.txt"], "out: expected a file name that ends with .csv"),
        (["out=taken.csv"], "out: expected a name that is not taken, or overwrite=true"),
        (["device=cuda:99"], "device: expected auto, cpu or a device of this machine"),
        (["batch_size=0"], "batch_size: expected a whole number of 1 or more"),
        (["importance_samples=0"], "importance_samples: expected a whole number of 1 or more"),
        (["ckpt_path=null"], "ckpt_path: expected a checkpoint"),
        (["label=3", "images=other"], "label: expected null, as this model is conditioned on not"),
        (["resize=true"], "resize: expected false for the checkpoint's own images, which fit"),
        (["images=other", "against=./other"], "against: expected other images than those of ima"),
        (["against=photos"], "against (resize=true makes other images fit)"),
        (["out=null"], "out: expected a path, got null"),
    ],
)
def test_what_cannot_be_scored_is_refused(train, score, tmp_path, arguments, told) -> None:
    run_dir = train("model.levels=1", "test=false", "callbacks.pictures=null")
    for name, size, value in (("other", 9, 0), ("depth", 8, 1)):
        (tmp_path / name).mkdir()
        Image.new("L", (size, 8), value).save(tmp_path / name / "x.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "taken.csv").write_text("mine")
    np.save(tmp_path / "floats.npy", np.zeros((2, 1, 8, 8)))
    np.save(tmp_path / "large.npy", np.full((2, 1, 8, 8), 17))
    assert told in refused(score, f"ckpt_path={run_dir}", *arguments)
    assert (tmp_path / "taken.csv").read_text() == "mine"
    assert not (tmp_path / "scores.csv").exists()
    assert not list(tmp_path.glob("score_*"))


def test_images_of_a_class_model_need_a_label(train, score, tmp_path) -> None:
    run_dir = train("conditioning=class", "model.levels=1", "test=false")
    np.save(tmp_path / "images.npy", np.zeros((2, 1, 8, 8), np.uint8))
    options = [f"ckpt_path={run_dir}", "images=images.npy"]
    assert "or label=CLASS for a model of classes" in refused(score, *options)
    assert "label: expected whole numbers from 0 to 9, got 10" in refused(
        score, *options, "label=10"
    )
    assert "label: expected null without images or against" in refused(
        score, f"ckpt_path={run_dir}", "label=3"
    )
    columns = table(score(*options, "label=3"))
    expected = load(run_dir).bits_per_dim(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), label=3)
    assert np.allclose(columns["bpd"], expected.numpy(), atol=1e-6)


def test_detection_counts_what_is_found() -> None:
    known, others = torch.arange(100.0).double(), torch.arange(50.0, 150.0).double()
    found = detection(known, others)
    # 50 of 100 of the known lie above a given other one, less what the others' own range adds.
    assert found["auroc"] == pytest.approx(0.875, abs=0.01)
    assert found["fpr_at_95"] == pytest.approx(0.45, abs=0.02)
    same = detection(known, known)
    assert same["auroc"] == pytest.approx(0.5)
    assert same["aupr"] == pytest.approx(0.5, abs=0.02)
    shifted = detection(1e6 + known / 1e3, 1e6 + others / 1e3)
    assert shifted == pytest.approx(found)


def test_codecs_need_less_for_flat_images_than_for_noise() -> None:
    flat = torch.full((1, 3, 32, 32), 7, dtype=torch.uint8)
    noise = torch.randint(0, 256, (1, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    bits = codec_bits_per_dim(torch.cat([flat, noise.to(torch.uint8)]))
    assert bits[0] < 0.5
    assert bits[1] > 8
    assert codec_bits_per_dim(noise[:, :1].to(torch.uint8))[0] > 8
