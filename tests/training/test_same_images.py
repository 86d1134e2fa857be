"""Splits compared with those of a checkpoint's training."""

from __future__ import annotations

from pathlib import Path

import pytest
from written import write_many

from attnflow import AttnFlowError
from attnflow.data import DigitsDataModule, ImageFolderDataModule
from attnflow.data.base import ImageDataModule
from attnflow.training.same_images import changed_test_images, check_resumed_images

HELD = {"images": 5, "mark": "of others"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folders of three splits."""
    for split, number in (("train", 5), ("val", 3), ("test", 2)):
        write_many(tmp_path / "im" / split, number)
    return tmp_path / "im"


def of(folder: Path) -> ImageFolderDataModule:
    return ImageFolderDataModule(str(folder), size=4)


def held(data: ImageDataModule, **changes: object) -> dict[str, object]:
    """What a checkpoint holds of a training with this data, with other entries of some splits."""
    for split in ("train", "val", "test"):
        data.dataset(split)
    return {"train_images": len(data.dataset("train")), "splits": data.splits_read | changes}


def test_the_same_images_are_gone_on_with_wherever_they_lie(folder, tmp_path) -> None:
    told = held(of(folder))
    folder = folder.rename(tmp_path / "moved")
    check_resumed_images(told, of(folder), "x.ckpt")
    assert changed_test_images(told, of(folder), "x.ckpt") is None


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            "train/4.png",
            "the training split: expected the 5 images that the checkpoint x.ckpt was trained "
            "with, got 5 that are not the same ones; init_from=PATH starts a new training from "
            "its weights.",
        ),
        (
            "val/0.png",
            "the validation split: expected the 3 images that the checkpoint x.ckpt was validated "
            "on, got 3 that are not the same ones; init_from=PATH starts a new training from its "
            "weights.",
        ),
    ],
)
def test_exchanged_images_are_refused(folder, file, message) -> None:
    told = held(of(folder))
    (folder / file).rename((folder / file).with_name("other.png"))
    with pytest.raises(AttnFlowError) as refused:
        check_resumed_images(told, of(folder), "x.ckpt")
    assert str(refused.value) == message


def test_added_images_are_refused_by_their_number(folder) -> None:
    told = held(of(folder))
    write_many(folder / "val", 4)
    with pytest.raises(AttnFlowError, match=r"validation split: expected the 3 images .*, got 4;"):
        check_resumed_images(told, of(folder), "x.ckpt")


def test_of_an_older_checkpoint_the_number_of_training_images_is_compared(folder) -> None:
    check_resumed_images({"train_images": 5}, of(folder), "x.ckpt")
    with pytest.raises(AttnFlowError, match=r"the training split: expected the 6 images .* got 5;"):
        check_resumed_images({"train_images": 6}, of(folder), "x.ckpt")
    assert changed_test_images({"train_images": 6}, of(folder), "x.ckpt") is None
    assert changed_test_images({}, of(folder), "x.ckpt") is None


def test_what_has_no_mark_is_compared_by_its_number(folder) -> None:
    told = held(of(folder), train={"images": 5, "mark": None}, val={"images": 4, "mark": None})
    with pytest.raises(AttnFlowError, match=r"the validation split: expected the 4 images"):
        check_resumed_images(told, of(folder), "x.ckpt")


def test_other_test_images_are_told_where_the_training_images_are_the_same(folder) -> None:
    told = held(of(folder))
    write_many(folder / "test", 4)
    assert changed_test_images(told, of(folder), "x.ckpt") == (
        "the test split: the training of x.ckpt kept 2 images for its test, these 4 are not the "
        "same ones; the figures are not to be compared with its own."
    )


@pytest.mark.parametrize("kept", [True, False])
def test_test_images_that_may_have_been_trained_on_are_refused(folder, kept) -> None:
    """Of a training without a test (kept is False), the training images alone are compared."""
    told = held(of(folder))
    if not kept:
        del told["splits"]["test"]
    (folder / "train" / "0.png").rename(folder / "test" / "7.png")
    with pytest.raises(AttnFlowError) as refused:
        changed_test_images(told, of(folder), "x.ckpt")
    expected = "the 2 test" if kept else "test"
    assert str(refused.value) == (
        f"the test split: expected {expected} images of the data that the checkpoint x.ckpt was "
        "trained on, got 3 of data whose training images have changed since, so that it may have "
        "been trained on some of them; data.data_dir=PATH has it tested on them all the same."
    )


def test_the_same_test_images_are_tested_on_whatever_has_become_of_the_others(folder) -> None:
    told = held(of(folder))
    for file in (folder / "train").iterdir():
        file.unlink()
    (folder / "train").rmdir()
    assert changed_test_images(told, of(folder), "x.ckpt") is None


def test_other_test_images_are_refused_where_no_training_images_are_left(folder) -> None:
    told = held(of(folder))
    for row in range(5):
        (folder / "train" / f"{row}.png").rename(folder / "test" / f"{row + 7}.png")
    (folder / "train").rmdir()
    with pytest.raises(AttnFlowError, match="trained on some of them"):
        changed_test_images(told, of(folder), "x.ckpt")


def test_data_without_a_folder_is_named_by_its_choice() -> None:
    told = held(DigitsDataModule(), train=HELD, test=HELD)
    with pytest.raises(AttnFlowError, match=r"; data=NAME has it tested on them all the same\.$"):
        changed_test_images(told, DigitsDataModule(), "x.ckpt")
