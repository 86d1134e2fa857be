"""Checkpoints evaluated from another folder, on other images, and on test images alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import results
from hydra.errors import InstantiationException
from PIL import Image

from attnflow import AttnFlowError
from attnflow.cli.evaluated_data import evaluated_data
from attnflow.models.checkpoint import KEY, read_checkpoint
from attnflow.spec import DataSpec

RNG = np.random.default_rng(0)


def write(folder: Path, number: int) -> None:
    folder.mkdir(parents=True)
    for row in range(number):
        pixels = RNG.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{row}.png")


@pytest.fixture
def checkpoint(tmp_path, train) -> Path:
    """Of a class model of the images of a relative path; a class is missing in the test images."""
    for name, number in (("training/ant", 6), ("training/bee", 6), ("dev/ant", 3), ("Test/bee", 5)):
        write(tmp_path / "photos" / name, number)
    (tmp_path / "photos" / "Test" / "notes.txt").write_text("")
    run_dir = train(
        "data=class_folder",
        "data.data_dir=photos",
        "data.size=4",
        "data.global_batch_size=4",
        "conditioning=class",
        "model.levels=1",
        "model.steps=1",
        "seed=5",
    )
    figures = results(run_dir)
    assert [figures[f"data/{s}_images"] for s in ("train", "val", "test")] == [12, 3, 5]
    assert figures["data/test_left_out"] == 1
    assert "data/train_left_out" not in figures
    return run_dir / "checkpoints" / "best.ckpt"


def test_a_checkpoint_knows_its_data_from_anywhere(checkpoint, tmp_path, command, capsys) -> None:
    """Cases A9 and C5, and test images alone."""
    data = read_checkpoint(checkpoint)[KEY]["config"]["data"]
    assert data["data_dir"] == str(tmp_path / "photos")
    assert data["classes"] == ["ant", "bee"]
    assert data["seed"] == 5
    expected = results(checkpoint.parent.parent)["test/bpd"]

    shutil.move(tmp_path / "photos" / "Test", tmp_path / "alone" / "test")
    shutil.move(tmp_path / "photos", tmp_path / "moved")
    with pytest.raises(SystemExit) as stopped:
        command("eval", f"ckpt_path={checkpoint}")
    assert f"the folder {tmp_path}/photos: expected a folder of images" in str(stopped.value.code)
    assert "data.data_dir=PATH names (to eval.py too)" in str(stopped.value.code)

    for option in ("data.data_dir=alone", "+data.data_dir=alone"):
        capsys.readouterr()
        figures = results(
            command("eval", f"ckpt_path={checkpoint}", option, "eval.pictures=[neighbours]")
        )
        assert figures["test/bpd"] == pytest.approx(expected, abs=1e-5)
        assert figures["data/test_images"] == 5
        assert "data/train_images" not in figures
        assert "test/bayes_accuracy" not in figures
        assert capsys.readouterr().out.count("needs training images and is left out") == 2

    whole = ("data.data_dir=alone/test", "+data.splits={test: .}", "eval.pictures=[]")
    figures = results(command("eval", f"ckpt_path={checkpoint}", *whole))
    assert figures["test/bpd"] == pytest.approx(expected, abs=1e-5)
    assert figures["data/test_images"] == 5

    with pytest.raises(SystemExit) as stopped:
        command("eval", f"ckpt_path={checkpoint}", "data.data_dir=alone", "+data.size=8")
    assert "the data: expected image_shape (3, 4, 4)" in str(stopped.value.code)


def test_class_frequencies_of_images_that_are_read_one_by_one(checkpoint, command) -> None:
    """Such a data set has no table of labels."""
    lazy = ["+data.in_memory=false", "eval.pictures=[]"]
    figures = results(command("eval", f"ckpt_path={checkpoint}", *lazy))
    assert 0 <= figures["test/bayes_accuracy"] <= 1
    assert torch.isfinite(torch.tensor(figures["test/bpd"]))


def test_classes_keep_the_order_of_the_labels(checkpoint, command) -> None:
    for classes in ("[bee,ant]", "[ant]", "[ant,wasp]", "ant"):
        with pytest.raises(SystemExit) as stopped:
            command("eval", f"ckpt_path={checkpoint}", f"+data.classes={classes}")
        assert "data.classes: expected ['ant', 'bee'], in the order of" in str(stopped.value)


@pytest.mark.parametrize("option", ["convert=maybe", "size=abc", "num_workers=1.5", "augment=abc"])
def test_options_of_the_data_are_checked_by_their_types(held_data, option) -> None:
    name, value = option.split("=")
    changes = {name: float(value) if value == "1.5" else value}
    with pytest.raises(
        (AttnFlowError, InstantiationException), match=rf"data\.{name}( is |: expected)"
    ):
        evaluated_data(held_data, {}, changes, ".")


def test_what_a_data_class_alone_hints_at_is_checked_as_training_checks_it(held_data) -> None:
    with pytest.raises(
        AttnFlowError, match=r"data\.num_classes: expected a whole number.* got 'two'"
    ):
        evaluated_data(held_data, {}, {"num_classes": "two"}, ".")


SPEC = DataSpec((1, 4, 4), 256).as_dict()
HOLDS = {
    "patches": ("cache_dir", "PatchesDataModule", {"size": 4, "channels": 1, "convert": True}),
    "MNIST": ("data_dir", "MNISTDataModule", {}),
    "a library's": ("cache_dir", "HuggingFaceDataModule", {"path": "photos"}),
}


@pytest.mark.parametrize("kind", HOLDS)
def test_what_a_file_alone_names_is_not_written_to(tmp_path, monkeypatch, kind) -> None:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val", "test"):
        write(tmp_path / "photos" / split, 2)
    before = sorted(tmp_path.rglob("*"))
    option, target, options = HOLDS[kind]
    held = {"_target_": f"attnflow.data.{target}", "data_dir": f"{tmp_path}/photos", **options}
    if "path" in options:
        del held["data_dir"]
    held |= {option: f"{tmp_path}/theirs"}
    told = f"data.{option}: expected a folder that you name, as .*, got {tmp_path}/theirs, which"
    with pytest.raises(AttnFlowError, match=told):
        evaluated_data(held, SPEC, {}, tmp_path / "data")
    assert sorted(tmp_path.rglob("*")) == before


def test_patches_are_cut_where_the_user_says_and_found_where_they_are(tmp_path) -> None:
    for split in ("train", "val", "test"):
        write(tmp_path / "photos" / split, 2)
    _, target, options = HOLDS["patches"]
    held = {"_target_": f"attnflow.data.{target}", "data_dir": f"{tmp_path}/photos", **options}
    given = {"cache_dir": f"{tmp_path}/named"}
    evaluated_data(held, SPEC, given, tmp_path / "data").setup("test")
    assert (tmp_path / "named").exists()
    evaluated_data(held | given, SPEC, {}, tmp_path / "data").setup("test")  # there already
    below = {"cache_dir": f"{tmp_path}/data/patches"}
    evaluated_data(held | below, SPEC, {}, tmp_path / "data").setup("test")
    assert (tmp_path / "data" / "patches").exists()


@pytest.fixture
def held_data(tmp_path) -> dict[str, object]:
    """``data`` of a checkpoint's config."""
    return {
        "_target_": "attnflow.data.ClassFolderDataModule",
        "data_dir": str(tmp_path),
        "classes": ["ant", "bee"],
    }


def test_a_checkpoint_is_evaluated_on_another_data_set(train, command, tmp_path) -> None:
    """As in training: data=... and its options; results.json says which it was."""
    for row in range(5):
        write(tmp_path / "mine" / "test" / str(row), 1)
    run_dir = train("data=photos", "data.size=4", "model.levels=1", "model.steps=1")
    evaluate = ["eval", f"ckpt_path={run_dir}", "eval.pictures=[neighbours,samples]"]
    other = ["data=image_folder", "data.data_dir=mine", "data.size=4"]
    own, found = command(*evaluate), command(*evaluate, *other, "logger=csv")
    assert (results(own)["data"], results(found)["data"]) == ("photos", "image_folder")
    assert results(found)["data/test_images"] == 5
    assert results(found)["test/bpd"] != results(own)["test/bpd"]
    # Of the data that the model was trained on alone.
    assert (own / "samples" / "neighbours.png").exists()
    assert [path.name for path in (found / "samples").iterdir()] == ["samples.png"]
    recorded = yaml.safe_load((found / "csv" / "version_0" / "hparams.yaml").read_text())
    assert recorded["data"]["_target_"] == "attnflow.data.ImageFolderDataModule"

    with pytest.raises(SystemExit) as stopped:
        command(*evaluate, "data=digits")
    assert "the data: expected image_shape (3, 4, 4)" in str(stopped.value.code)
