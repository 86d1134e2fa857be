"""Which files of a folder are found, and which of them train, validate and test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from written import write_image, write_many

from attnflow import AttnFlowError
from attnflow.data.finding import data_folder, entries
from attnflow.data.splits import Splits, find_images


def numbers(splits: Splits) -> list[int]:
    return [len(splits.found(split).files) for split in ("train", "val", "test")]


def test_what_is_hidden_or_a_tools_own_is_no_data(tmp_path) -> None:
    """Case A3, and what else systems put into folders of images."""
    write_many(tmp_path / "cat", 3)
    for folder in (".ipynb_checkpoints", "__MACOSX/cat", "@eaDir", "lost+found", "cat/.thumbs"):
        write_many(tmp_path / folder, 2)
    write_image(tmp_path / "cat" / "._0.png", 4, 4, 3)
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"")
    found = find_images(tmp_path)
    assert {file.parent for file in found.files} == {tmp_path / "cat"}
    assert found.left_out == {"hidden or a tool's own": 7}


def test_a_hidden_folder_may_hold_the_data(tmp_path) -> None:
    write_many(tmp_path / ".cache" / "cats", 3)
    assert len(find_images(tmp_path / ".cache" / "cats").files) == 3


def test_other_files_are_counted_by_their_suffix(tmp_path) -> None:
    """Case A6: what Pillow reads is read."""
    for number, suffix in enumerate((".gif", ".tif", ".jfif", ".ppm", ".PNG", ".JPeG", ".bmp")):
        write_image(tmp_path / f"{number}{suffix}", 4, 4, 3)
    for name in ("a.txt", "b.TXT", "c.json", "LICENSE", "logo.svg", "drawing.eps"):
        (tmp_path / name).write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.png")
    found = find_images(tmp_path)
    assert len(found.files) == 7
    assert found.left_out == {
        ".txt files": 2,
        ".json files": 1,
        ".svg files": 1,
        ".eps files": 1,
        "files without suffix": 1,
        "pipes, sockets or devices": 1,
    }


def test_a_folder_without_images_says_what_it_holds(tmp_path) -> None:
    (tmp_path / "0.heic").write_bytes(b"")
    with pytest.raises(AttnFlowError, match=r"got no image but 1 \.heic files\."):
        find_images(tmp_path)
    with pytest.raises(
        AttnFlowError, match=r"0\.heic: expected .* data\.data_dir=PATH .*, got a file"
    ):
        find_images(tmp_path / "0.heic")


def test_links_are_followed(tmp_path) -> None:
    """Case A4."""
    write_many(tmp_path / "elsewhere" / "dogs", 15)
    write_many(tmp_path / "data" / "cat", 12)
    (tmp_path / "data" / "dog").symlink_to(tmp_path / "elsewhere" / "dogs")
    write_image(tmp_path / "elsewhere" / "one.png", 4, 4, 3)
    (tmp_path / "data" / "cat" / "one.png").symlink_to(tmp_path / "elsewhere" / "one.png")
    found = find_images(tmp_path / "data")
    assert len(found.files) == 28
    assert {file.parent.name for file in found.files} == {"cat", "dog"}
    assert not found.left_out
    (tmp_path / "linked").symlink_to(tmp_path / "data")
    assert len(find_images(tmp_path / "linked").files) == 28


def test_links_in_a_circle_end_and_broken_ones_are_told(tmp_path) -> None:
    write_many(tmp_path / "a" / "b", 3)
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "a" / "twice.png").symlink_to(tmp_path / "a" / "b" / "0.png")
    found = find_images(tmp_path)
    assert len({file.resolve() for file in found.files}) == len(found.files) == 3
    assert found.left_out == {"broken links": 2, "reached twice by links": 2}


def test_copies_that_are_no_links_stay(tmp_path) -> None:
    """A hard link is a file of its own, as any copy is."""
    write_many(tmp_path, 2)
    os.link(tmp_path / "0.png", tmp_path / "copy.png")
    assert len(find_images(tmp_path).files) == 3


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(
        AttnFlowError, match=r"expected one that may be read, got 'Permission denied'"
    ):
        entries(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("Train", "VALID", "Test"),
        ("training", "validation", "testing"),
        ("TRAINING", "Dev", "test"),
        ("trn", "vld", "tst"),
    ],
)
def test_the_usual_names_in_any_case(tmp_path, names) -> None:
    """Case A5."""
    for name, number in zip(names, (5, 3, 2), strict=True):
        write_many(tmp_path / name, number)
    splits = Splits(tmp_path)
    assert numbers(splits) == [5, 3, 2]
    assert [splits.found(s).folder.name for s in ("train", "val", "test")] == list(names)


def test_train_and_valid_alone(tmp_path) -> None:
    """What is not trained on tests, and a tenth of train validates."""
    write_many(tmp_path / "train", 20)
    write_many(tmp_path / "valid", 4)
    assert numbers(Splits(tmp_path)) == [18, 2, 4]


@pytest.mark.parametrize("target", ["nowhere", "test"])
def test_a_split_that_is_a_broken_link_is_not_cut_from_another(tmp_path, target) -> None:
    write_many(tmp_path / "train", 20)
    (tmp_path / "test").symlink_to(tmp_path / target)
    with pytest.raises(AttnFlowError, match=r"/test: expected the folder of the test split, got a"):
        Splits(tmp_path).found("train")


def test_two_folders_of_one_split_are_refused(tmp_path) -> None:
    for name in ("train", "val", "Validation"):
        write_many(tmp_path / name, 3)
    message = r"expected one folder of the val split, got Validation and val \(data\.splits"
    with pytest.raises(AttnFlowError, match=message):
        Splits(tmp_path).found("train")
    splits = Splits(tmp_path, {"train": "train", "val": "val", "test": "Validation"})
    assert numbers(splits) == [3, 3, 3]


@pytest.mark.parametrize("beside", ["holdout/0.png", "unlabeled/deep/er/0.jpg", "cover.png"])
def test_images_beside_the_splits_are_not_ignored(tmp_path, beside) -> None:
    for name in ("train", "test"):
        write_many(tmp_path / name, 10)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "all.json").write_text("{}")
    assert numbers(Splits(tmp_path)) == [9, 1, 10]
    write_image(tmp_path / beside, 4, 4, 3)
    named = beside.split("/")[0]
    with pytest.raises(AttnFlowError, match=f"got .*{named} beside train, test, which would be"):
        Splits(tmp_path).found("train")
    assert numbers(Splits(tmp_path, {"train": "train", "test": "test"})) == [9, 1, 10]


@pytest.mark.parametrize(
    "folders",
    [
        ("train2017", "val2017"),
        ("training_set", "test_set"),
        ("seg_train", "seg_test"),
        ("trainA", "trainB"),
        ("archive/train", "archive/test"),
        ("cats/train", "cats/test"),
        ("trainset", "testset"),
        ("Trainingdata/cat", "testdata/cat"),
        ("imgtrain", "imgval"),
    ],
)
def test_folders_called_like_splits_are_not_mixed(tmp_path, folders) -> None:
    """A user's test images would be trained on."""
    for folder in folders:
        write_many(tmp_path / folder, 6)
    message = f"({folders[0]}|{folders[1]}): expected .* called as if it held a split"
    with pytest.raises(AttnFlowError, match=message):
        Splits(tmp_path).found("train")
    assert numbers(Splits(tmp_path, {})) == [10, 1, 1]
    named = dict(zip(("train", "test"), folders, strict=True))
    assert len(Splits(tmp_path, named).found("test").files) == 6


@pytest.mark.parametrize("below", ["train/val", "train/deep/Valid_set", "test/train", "train/tst"])
def test_a_split_within_another_is_not_mixed_into_it(tmp_path, below) -> None:
    """A user's validation images would be trained on."""
    for folder in ("train", "test", below):
        write_many(tmp_path / folder, 10)
    splits = Splits(tmp_path)
    with pytest.raises(AttnFlowError) as refused:
        splits.found(below.split("/")[0])
    assert str(refused.value) == (
        f"{tmp_path / below}: expected the folders of other splits beside {below.split('/')[0]}, "
        "got one within it that is called as if it held another split, but would be mixed with its "
        "images (data.splits={train: train, test: test} mixes them)."
    )
    named = Splits(tmp_path, {"train": "train", "test": "test"})
    assert sum(numbers(named)) == 30


def test_a_split_within_train_alone_is_not_cut_from_it(tmp_path) -> None:
    write_many(tmp_path / "train", 80)
    write_many(tmp_path / "train" / "val", 20)
    with pytest.raises(AttnFlowError, match=r"train/val: .* \(data\.splits={train: train} mixes"):
        Splits(tmp_path).found("train")


def test_a_class_may_be_called_like_a_split_where_all_splits_have_it(tmp_path) -> None:
    """As the class train, a vehicle, of CIFAR-100."""
    for split in ("train", "test"):
        for name in ("apple", "train", "test"):
            write_many(tmp_path / split / name, 10)
    assert numbers(Splits(tmp_path)) == [27, 3, 30]
    write_many(tmp_path / "val" / "apple", 3)
    with pytest.raises(AttnFlowError, match=r"train/test: expected the folders of other splits"):
        Splits(tmp_path).found("train")


def test_folders_of_a_splits_own_name_within_it_are_its_parts(tmp_path) -> None:
    for folder in ("train/train_1", "train/train_2", "test/test"):
        write_many(tmp_path / folder, 10)
    assert numbers(Splits(tmp_path)) == [18, 2, 10]


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        (("learn", "eval"), ", cut from its 2 folders together (eval, learn)"),
        (("Tr/a", "Tr/b", "Te"), ", cut from its 2 folders together (Te, Tr)"),
        (tuple("gfedcba"), ", cut from its 7 folders together (a, b, c, d, e, ...)"),
        (("learn",), ""),
        (("learn", "eval", "."), ""),
    ],
)
def test_folders_that_are_cut_together_are_told(tmp_path, folders, told) -> None:
    """They may be splits of a name that nobody knows."""
    for folder in folders:
        write_many(tmp_path / folder, 6)
    assert Splits(tmp_path).remark == told
    assert Splits(tmp_path, {}).remark == ""


def test_names_that_only_begin_like_a_split_are_folders_as_any_other(tmp_path) -> None:
    for folder in ("trains", "devices", "valley", "contest"):
        write_many(tmp_path / folder, 5)
    assert numbers(Splits(tmp_path)) == [16, 2, 2]


def test_test_images_alone_can_be_tested_on(tmp_path) -> None:
    write_many(tmp_path / "test", 3)
    splits = Splits(tmp_path)
    assert len(splits.found("test").files) == 3
    with pytest.raises(AttnFlowError, match=r"expected a folder train beside .*, got test alone"):
        splits.found("train")
    everything = Splits(tmp_path / "test", {"test": "."})
    assert len(everything.found("test").files) == 3


def test_splits_that_share_an_image_by_a_link_are_refused(tmp_path) -> None:
    for name in ("train", "val", "test"):
        write_many(tmp_path / name, 3)
    (tmp_path / "test" / "leak.png").symlink_to(tmp_path / "train" / "1.png")
    splits = Splits(tmp_path)
    splits.found("train")
    with pytest.raises(AttnFlowError, match=r"/test and .*/train: .*, got 1, .*train/1\.png"):
        splits.found("test")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"training": "a"}, r"data\.splits: expected folders of train, val, test, got one of 'tra"),
        ({"train": 5}, r"data\.splits\.train: expected a folder's name, got 5"),
        ({"train": "nowhere", "test": "."}, "nowhere: expected .* does not exist"),
        ({"train": ".", "test": "."}, r"data\.splits: expected a folder for each, got \. twice"),
    ],
)
def test_splits_that_are_none_are_named(tmp_path, named, message) -> None:
    write_many(tmp_path, 10)
    with pytest.raises(AttnFlowError, match=message):
        Splits(tmp_path, named).found("train")


def test_folders_are_absolute_and_may_be_in_the_home(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for path in ("photos", "photos/", "./photos", "~/photos", str(tmp_path / "photos")):
        assert data_folder(path) == tmp_path / "photos"
    for path in ("", 5, None, True):
        with pytest.raises(AttnFlowError, match=r"data\.data_dir: expected the path of a folder"):
            data_folder(path)


def test_splits_that_share_an_image_by_a_hard_link_are_refused(tmp_path) -> None:
    write_many(tmp_path / "train", 10)
    write_many(tmp_path / "test", 3)
    (tmp_path / "test" / "leak.png").hardlink_to(tmp_path / "train" / "4.png")
    splits = Splits(tmp_path)
    with pytest.raises(AttnFlowError, match=r"common image, got 1, .*/train/4\.png the first"):
        [splits.found(split) for split in ("train", "test")]
