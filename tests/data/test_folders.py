"""Users' folders, CelebA and Cityscapes, from small trees of real files."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT
from hydra import compose, initialize_config_dir
from PIL import Image
from torchvision.transforms import v2
from written import RNG, pixels, write_image, write_many, write_twin

from attnflow import AttnFlowError
from attnflow.data import (
    CelebADataModule,
    CityscapesDataModule,
    ClassFolderDataModule,
    ImageFolderDataModule,
    PairedFolderDataModule,
)
from attnflow.data.counts import image_counts
from attnflow.data.decoding import decode
from attnflow.data.splits import find_images


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Twenty images of several sizes in nested folders."""
    for number in range(20):
        write_image(tmp_path / f"part_{number % 3}" / f"{number:02d}.png", 8, 8 + number, 3)
    return tmp_path


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("in_memory", [True, False])
def test_any_tree_is_cut_into_fixed_splits(tree, in_memory, num_workers) -> None:
    data = ImageFolderDataModule(
        str(tree), size=8, in_memory=in_memory, num_workers=num_workers, global_batch_size=2
    )
    data.setup()
    splits = [set(data.files(split)) for split in ("train", "val", "test")]
    assert [len(files) for files in splits] == [16, 2, 2]
    assert len(set.union(*splits)) == 20
    batch = next(iter(data.test_dataloader()))
    assert batch["image"].shape == (2, *data.spec.image_shape)
    assert batch["image"].dtype == torch.uint8
    assert batch["index"].tolist() == [0, 1]


@pytest.mark.parametrize("make", [ClassFolderDataModule, PairedFolderDataModule])
def test_workers_that_are_not_forked_read_without_the_trainer(tmp_path, make) -> None:
    """Such workers are sent a pickled data set; a trainer at work cannot be pickled."""
    for number in range(20):
        write_image(tmp_path / "ant" / f"{number}.png", 8, 16, 3)
    data = make(str(tmp_path), size=8, in_memory=False)
    data.trainer = SimpleNamespace(world_size=1, global_rank=0, loop=(n for n in range(3)))
    sent = pickle.loads(pickle.dumps(data.dataset("train")))
    assert torch.equal(sent[5]["image"], data.dataset("train")[5]["image"])
    assert data.trainer is not None


def test_named_splits_are_kept_and_pixels_are_the_files(tmp_path) -> None:
    for split, number in (("train", 3), ("val", 2), ("test", 1)):
        for row in range(number):
            pixels = write_image(tmp_path / split / f"{row}.png", 8, 8, 3)
    data = ImageFolderDataModule(str(tmp_path), size=8, num_bits=5)
    assert [len(data.dataset(s)) for s in ("train", "val", "test")] == [3, 2, 1]
    image = data.dataset("test")[0]["image"]
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), pixels // 8)


def test_a_centre_crop_keeps_the_centre(tmp_path) -> None:
    for split in ("train", "val", "test"):
        pixels = write_image(tmp_path / split / "0.png", 8, 16, 3)
    image = ImageFolderDataModule(str(tmp_path), size=8).dataset("test")[0]["image"]
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), pixels[:, 4:12])


def test_missing_and_empty_folders_are_named(tmp_path) -> None:
    with pytest.raises(AttnFlowError, match=r"nowhere: expected .* does not exist"):
        ImageFolderDataModule(str(tmp_path / "nowhere")).setup()
    (tmp_path / "empty").mkdir()
    with pytest.raises(AttnFlowError, match=r"empty: expected .* got no image"):
        ImageFolderDataModule(str(tmp_path / "empty")).setup()
    write_image(tmp_path / "few" / "0.png", 8, 8, 3)
    with pytest.raises(AttnFlowError, match=r"expected 10 images or more .*, got 1 images"):
        ImageFolderDataModule(str(tmp_path / "few")).setup()


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("damage", ["truncated", "not an image"])
def test_corrupt_images_stop_before_training_unless_skipped(
    tree, damage, in_memory, caplog
) -> None:
    data = ImageFolderDataModule(str(tree), size=8, in_memory=in_memory)
    victim = data.files("train")[3]
    whole = victim.read_bytes()
    victim.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"hello")
    with pytest.raises(AttnFlowError, match=f"{victim.name}: expected a readable image"):
        data.setup()
    data = ImageFolderDataModule(
        str(tree), size=8, skip_corrupt=True, in_memory=in_memory, global_batch_size=15
    )
    data.setup()
    assert len(data.dataset("train")) == 15
    assert "skipped 1 of 16 images" in caplog.text
    indices = next(iter(data.train_dataloader()))["index"]
    assert sorted(indices.tolist()) == list(range(15))


def test_a_split_of_corrupt_images_alone_is_refused(tmp_path) -> None:
    for split in ("train", "val", "test"):
        write_image(tmp_path / split / "0.png", 8, 8, 3)
    (tmp_path / "val" / "0.png").write_bytes(b"hello")
    with pytest.raises(AttnFlowError, match=r"images of a split: .* got 1, all corrupt"):
        ImageFolderDataModule(str(tmp_path), size=8, skip_corrupt=True).setup()


def test_a_header_of_a_huge_image_is_damage(tmp_path) -> None:
    write_image(tmp_path / "0.bmp", 8, 8, 3)
    header = bytearray((tmp_path / "0.bmp").read_bytes())
    header[18:22] = (2**30).to_bytes(4, "little")  # the width
    (tmp_path / "0.bmp").write_bytes(header)
    with pytest.raises(AttnFlowError, match=r"0\.bmp: expected a readable image"):
        decode(tmp_path / "0.bmp", 3)


def test_more_than_8_bits_are_refused_and_not_cut(tmp_path) -> None:
    write_twin(tmp_path / "deep.png", np.full((8, 8), 30_000, dtype=np.uint16))
    with pytest.raises(AttnFlowError, match=r"deep\.png: expected 8 bits a grey value or fewer"):
        decode(tmp_path / "deep.png", 1, convert=True)


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "webp", "bmp", "PNG"])
def test_formats(tmp_path, suffix) -> None:
    pixels = np.full((8, 8, 3), 100, dtype=np.uint8)
    write_twin(tmp_path / f"0.{suffix}", pixels)
    (tmp_path / "notes.txt").write_text("no image")
    assert [f.name for f in find_images(tmp_path).files] == [f"0.{suffix}"]
    assert (decode(tmp_path / f"0.{suffix}", 3).int() - 100).abs().max() <= 2


def test_size_null_takes_images_as_they_are_and_names_the_first_other(tmp_path) -> None:
    for number in range(10):
        pixels = write_image(tmp_path / f"{number}.png", 6, 10, 3)
    data = ImageFolderDataModule(str(tmp_path), size=None)
    assert data.spec.image_shape == (3, 6, 10)
    data.setup()
    for split in ("train", "val", "test"):
        if tmp_path / "9.png" in data.files(split):
            image = data.dataset(split)[data.files(split).index(tmp_path / "9.png")]["image"]
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), pixels)
    write_image(tmp_path / "7.png", 6, 12, 3)
    message = r"7\.png: expected size \(6, 10\) .*, that of the first image, .* got \(6, 12\)"
    with pytest.raises(AttnFlowError, match=message):
        ImageFolderDataModule(str(tmp_path), size=None).setup()
    with pytest.raises(AttnFlowError, match=r"nowhere: expected .* does not exist"):
        _ = ImageFolderDataModule(str(tmp_path / "nowhere"), size=None).spec


@pytest.mark.parametrize("damage", ["empty", "truncated"])
def test_size_null_is_that_of_the_first_file_that_can_be_read(tmp_path, damage) -> None:
    """Case A7; a truncated file still has a header, with a size of its own."""
    for number in range(10):
        write_image(tmp_path / f"{number}.png", 6, 10, 3)
    data = ImageFolderDataModule(str(tmp_path), size=None)
    first = data.files("train")[0]
    write_image(first, 40, 40, 3)
    first.write_bytes(b"" if damage == "empty" else first.read_bytes()[:2000])
    with pytest.raises(AttnFlowError, match=f"{first.name}: expected a readable image"):
        _ = data.spec
    data = ImageFolderDataModule(str(tmp_path), size=None, skip_corrupt=True)
    assert data.spec.image_shape == (3, 6, 10)
    assert len(data.dataset("train")) == 7
    for file in tmp_path.iterdir():
        file.write_bytes(b"")
    with pytest.raises(AttnFlowError, match=r"images of .*: expected .* got 8, all corrupt"):
        _ = ImageFolderDataModule(str(tmp_path), size=None, skip_corrupt=True).spec


def test_size_null_of_a_turned_pair_is_that_of_an_upright_half(tmp_path) -> None:
    """Stored 20 high and 6 wide, shown 6 high and 20 wide: cut into left and right."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(10):
        array = pixels(20, 6, 3)
        write_twin(tmp_path / f"{number}.png", array, exif=exif)
    data = PairedFolderDataModule(str(tmp_path), size=None)
    assert data.spec.image_shape == (3, 6, 10)
    sample = data.sample(tmp_path / "9.png")
    upright = np.rot90(array, -1)
    np.testing.assert_array_equal(sample["condition"].permute(1, 2, 0), upright[:, :10])
    np.testing.assert_array_equal(sample["image"].permute(1, 2, 0), upright[:, 10:])


def test_size_null_of_a_pair_is_that_of_a_half(tmp_path) -> None:
    for number in range(10):
        write_image(tmp_path / f"{number}.png", 6, 20, 3)
    data = PairedFolderDataModule(str(tmp_path), size=None)
    assert data.spec.image_shape == data.spec.condition_shape == (3, 6, 10)
    assert data.dataset("train")[0]["image"].shape == (3, 6, 10)


@pytest.mark.parametrize(
    ("folders", "numbers"),
    [
        ({"train": 20, "val": 3, "test": 2}, [20, 3, 2]),
        ({"train": 20, "val": 3}, [18, 2, 3]),
        ({"train": 20, "test": 3}, [18, 2, 3]),
        ({"train": 20}, [16, 2, 2]),
    ],
)
def test_what_tests_is_never_trained_on(tmp_path, folders, numbers) -> None:
    for folder, number in folders.items():
        for row in range(number):
            write_image(tmp_path / folder / f"{row}.png", 4, 4, 3)
    data = ImageFolderDataModule(str(tmp_path), size=4)
    splits = [set(data.files(split)) for split in ("train", "val", "test")]
    assert [len(files) for files in splits] == numbers
    assert len(set.union(*splits)) == sum(numbers)
    if len(folders) == 2:
        assert {f.parent.name for f in splits[0] | splits[1]} == {"train"}


def test_a_test_folder_needs_one_to_train_on(tmp_path) -> None:
    write_image(tmp_path / "test" / "0.png", 4, 4, 3)
    with pytest.raises(AttnFlowError, match=r"expected a folder train beside .*, got test alone"):
        ImageFolderDataModule(str(tmp_path), size=4).setup()


def test_grey_and_colour_are_not_mixed_up(tree) -> None:
    write_image(tree / "grey.png", 8, 8)
    with pytest.raises(
        AttnFlowError, match=r"grey\.png: expected a colour image, .* got a grey one"
    ):
        ImageFolderDataModule(str(tree), size=8).setup()
    with pytest.raises(AttnFlowError, match=r"expected a grey image, .* got a colour one"):
        ImageFolderDataModule(str(tree), size=8, channels=1).setup()
    data = ImageFolderDataModule(str(tree), size=8, channels=1, convert=True)
    assert data.dataset("train")[0]["image"].shape == (1, 8, 8)


def test_class_folders_are_labels(tmp_path) -> None:
    for name in ("ant", "bee"):
        for number in range(10):
            write_image(tmp_path / name / f"{number}.png", 8, 8, 3)
    data = ClassFolderDataModule(str(tmp_path), num_classes=2, size=8)
    assert data.spec.num_classes == 2
    for split in ("train", "test"):
        labels = data.dataset(split).fields["label"].tolist()
        assert labels == [int(f.parent.name == "bee") for f in data.files(split)]
    with pytest.raises(
        AttnFlowError, match=r"num_classes: expected 2, the class folders of .* got 3"
    ):
        ClassFolderDataModule(str(tmp_path), num_classes=3).setup()
    assert ClassFolderDataModule(str(tmp_path)).spec.num_classes == 2
    with pytest.raises(AttnFlowError, match=r"nowhere: expected .* does not exist"):
        _ = ClassFolderDataModule(str(tmp_path / "nowhere")).spec
    write_image(tmp_path / "stray.png", 8, 8, 3)
    with pytest.raises(AttnFlowError, match=r"stray\.png: expected .*, got one in no class folder"):
        _ = ClassFolderDataModule(str(tmp_path)).spec


def test_classes_are_counted_named_and_kept() -> None:
    """Case A10, for whom a class folder is made by the defaults of conf/data/class_folder.yaml."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", ["data=class_folder", "paths.root_dir=/nowhere"])
    assert config.data.num_classes is None


def test_labels_stay_with_other_images(tmp_path) -> None:
    """A folder that lacks a class would number the others anew, but for the names it is given."""
    for name in ("train/ant", "train/bee", "train/cat", "test/ant", "test/bee", "test/cat"):
        write_many(tmp_path / "old" / name, 5)
    write_many(tmp_path / "new" / "test" / "cat", 2)
    old = ClassFolderDataModule(str(tmp_path / "old"), size=4)
    settled = old.settled
    assert settled == {"data_dir": str(tmp_path / "old"), "classes": ["ant", "bee", "cat"]}
    new = ClassFolderDataModule(**settled | {"data_dir": str(tmp_path / "new")}, size=4)
    assert new.spec == old.spec
    assert new.dataset("test").fields["label"].tolist() == [2, 2]
    write_many(tmp_path / "new" / "test" / "dog", 2)
    with pytest.raises(
        AttnFlowError,
        match=r"/new/test: expected folders of the classes .*, got a class folder dog",
    ):
        ClassFolderDataModule(**settled | {"data_dir": str(tmp_path / "new")}).dataset("test")


@pytest.mark.parametrize("classes", ["ant", [], ["ant", "ant"], ["ant", 1], 5])
def test_class_names_are_checked(tmp_path, classes) -> None:
    with pytest.raises(AttnFlowError, match=r"data\.classes: expected a list of different names"):
        ClassFolderDataModule(str(tmp_path), classes=classes)


@pytest.mark.parametrize("options", [{"splits": "train"}, {"splits": ["train"]}, {"splits": 3}])
def test_splits_are_folders_by_name(tmp_path, options) -> None:
    with pytest.raises(AttnFlowError, match=r"data\.splits: expected a folder for each of train"):
        ImageFolderDataModule(str(tmp_path), **options)


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("train/cat", "the class folder .*/train/cat: expected images, .* got no image"),
        ("train/Ant/0", "expected one class folder a name, got Ant and ant, which differ by case"),
        ("test/cat/0", "class cat of .*: expected .* to train on, got none"),
    ],
)
def test_classes_that_cannot_be_learnt_are_named(tmp_path, folder, message) -> None:
    for name in ("train/ant", "train/bee", "test/ant", "test/bee"):
        write_many(tmp_path / name, 10)
    ClassFolderDataModule(str(tmp_path), size=4).setup()
    if folder.endswith("0"):
        write_image(tmp_path / f"{folder}.png", 4, 4, 3)
    else:
        (tmp_path / folder).mkdir()
    with pytest.raises(AttnFlowError, match=message):
        ClassFolderDataModule(str(tmp_path), size=4).setup()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_classes_are_the_same_in_every_split_folder(tmp_path, num_workers) -> None:
    """The validation set lacks a class, and files lie deeper than their class folder."""
    for name in ("train/ant", "train/bee/striped", "val/bee", "test/ant", "test/bee"):
        write_image(tmp_path / name / "0.png", 8, 8, 3)
    data = ClassFolderDataModule(
        str(tmp_path), size=8, global_batch_size=2, in_memory=False, num_workers=num_workers
    )
    assert data.classes == ["ant", "bee"]
    assert next(iter(data.test_dataloader()))["label"].tolist() == [0, 1]
    assert next(iter(data.val_dataloader()))["label"].tolist() == [1]


@pytest.mark.parametrize("condition", ["left", "right"])
def test_side_by_side_pairs(tmp_path, condition) -> None:
    for split, number in (("train", 10), ("val", 2)):
        for row in range(number):
            pixels = write_image(tmp_path / split / f"{row}.png", 8, 16, 3)
    data = PairedFolderDataModule(str(tmp_path), condition=condition, size=8)
    assert [len(data.dataset(s)) for s in ("train", "val", "test")] == [9, 1, 2]
    sample = data.dataset("test")[1]
    halves = [torch.from_numpy(half.copy()).permute(2, 0, 1) for half in np.split(pixels, 2, 1)]
    names = ("condition", "image") if condition == "left" else ("image", "condition")
    for name, half in zip(names, halves, strict=True):
        assert torch.equal(sample[name], half)


@pytest.fixture
def two_folders(tmp_path: Path) -> Path:
    for number in range(10):
        pixels = write_image(tmp_path / "photos" / f"{number}.png", 8, 8, 3)
        write_twin(tmp_path / "maps" / f"{number}.bmp", pixels)
    return tmp_path


def paired(folder: Path, **options) -> PairedFolderDataModule:
    names = {"image_dir": "photos", "condition_dir": "maps"}
    return PairedFolderDataModule(str(folder), size=8, **names, **options)


def test_pairs_of_two_folders_share_their_augmentation(two_folders) -> None:
    augment = (v2.RandomHorizontalFlip(), v2.RandomCrop(8, padding=2))
    data = paired(two_folders, augment=augment, global_batch_size=8)
    batch = next(iter(data.train_dataloader()))
    assert torch.equal(batch["image"], batch["condition"])
    stored = data.dataset("train").fields["image"][batch["index"]]
    assert not torch.equal(batch["image"], stored)


def test_mismatched_pairs_are_named(two_folders) -> None:
    (two_folders / "maps" / "4.bmp").unlink()
    with pytest.raises(
        AttnFlowError, match=r"4 in .*photos: expected a partner .* in .*maps, got none"
    ):
        paired(two_folders).setup()
    write_image(two_folders / "maps" / "4.bmp", 8, 8, 3)
    (two_folders / "photos" / "7.png").unlink()
    with pytest.raises(
        AttnFlowError, match=r"7 in .*maps: expected a partner .* in .*photos, got none"
    ):
        paired(two_folders).setup()
    write_image(two_folders / "photos" / "7.png", 8, 8, 3)
    write_image(two_folders / "photos" / "7.bmp", 8, 8, 3)
    with pytest.raises(
        AttnFlowError, match=r"7\.bmp and .*7\.png, which differ in their suffix alone"
    ):
        paired(two_folders).setup()
    (two_folders / "photos" / "7.bmp").unlink()
    write_image(two_folders / "maps" / "4.bmp", 8, 6, 3)
    with pytest.raises(AttnFlowError, match=r"expected equal sizes, got \(8, 8\) and \(8, 6\)"):
        paired(two_folders).setup()
    with pytest.raises(AttnFlowError, match=r"both or neither, got photos and None"):
        PairedFolderDataModule(str(two_folders), image_dir="photos")


def test_conditions_have_channels_and_bits_of_their_own(tmp_path) -> None:
    """Case A11: grey drawings, coloured photographs."""
    for number in range(10):
        colours = write_image(tmp_path / "photos" / f"{number}.png", 8, 8, 3)
        grey = write_image(tmp_path / "drawings" / f"{number}.png", 8, 8)
    folders = {"image_dir": "photos", "condition_dir": "drawings"}
    with pytest.raises(AttnFlowError, match=r"condition of .*data\.condition_channels=1, or"):
        PairedFolderDataModule(str(tmp_path), size=8, **folders).setup()
    data = PairedFolderDataModule(
        str(tmp_path), size=8, condition_channels=1, condition_num_bits=3, **folders
    )
    assert data.spec.condition_shape == (1, 8, 8)
    assert data.spec.condition_bins == 8
    assert data.spec.num_bins == 256
    sample = data.sample(tmp_path / "photos" / "9.png")
    np.testing.assert_array_equal(sample["image"].permute(1, 2, 0), colours)
    np.testing.assert_array_equal(sample["condition"][0], grey // 32)


def test_the_grey_half_of_a_colour_file(tmp_path) -> None:
    for number in range(10):
        pair = pixels(8, 16, 3)
        pair[:, :8] = pair[:, :8, :1]
        write_twin(tmp_path / f"{number}.png", pair)
    data = PairedFolderDataModule(str(tmp_path), size=8, condition_channels=1)
    sample = data.sample(tmp_path / "9.png")
    np.testing.assert_array_equal(sample["condition"][0], pair[:, :8, 0])
    np.testing.assert_array_equal(sample["image"].permute(1, 2, 0), pair[:, 8:])
    other = PairedFolderDataModule(str(tmp_path), size=8, condition="right", condition_channels=1)
    with pytest.raises(
        AttnFlowError, match=r"the condition of .*9\.png: expected .*, got a colour one"
    ):
        other.sample(tmp_path / "9.png")
    with pytest.raises(
        AttnFlowError, match="condition_channels: expected one of None, 1, 3, got 2"
    ):
        PairedFolderDataModule(str(tmp_path), condition_channels=2)
    with pytest.raises(
        AttnFlowError, match="condition_num_bits: expected a whole number from 1 to 8, got 9"
    ):
        PairedFolderDataModule(str(tmp_path), condition_num_bits=9)


def test_a_line_a_split_says_how_many_images_and_what_was_left_out(tmp_path, caplog) -> None:
    write_many(tmp_path / "train", 5)
    (tmp_path / "train" / "3.png").write_bytes(b"")
    (tmp_path / "train" / "notes.txt").write_text("")
    (tmp_path / "train" / ".hidden.png").write_text("")
    write_many(tmp_path / "valid", 2)
    write_many(tmp_path / "Test", 3)
    data = ImageFolderDataModule(str(tmp_path), size=4, skip_corrupt=True)
    with caplog.at_level("INFO", "attnflow.data.base"):
        data.setup("fit")
    lines = [r.message for r in caplog.records if r.name == "attnflow.data.base"]
    assert lines == [
        f"train: 4 images of {tmp_path}/train, left out: 1 hidden or a tool's own, 1 .txt files, "
        "1 damaged",
        f"val: 2 images of {tmp_path}/valid",
        f"test: 3 images of {tmp_path}/Test",
    ]


def test_the_line_names_folders_that_were_cut_together_unless_they_are_classes(
    tmp_path, caplog
) -> None:
    for folder in ("seen", "unseen"):
        write_many(tmp_path / folder, 5)
    with caplog.at_level("INFO", "attnflow.data.base"):
        ImageFolderDataModule(str(tmp_path), size=4).dataset("train")
        ClassFolderDataModule(str(tmp_path), size=4).dataset("train")
    lines = [r.message for r in caplog.records if r.name == "attnflow.data.base"]
    line = f"train: 8 images of {tmp_path}"
    assert lines == [f"{line}, cut from its 2 folders together (seen, unseen)", line]


@pytest.mark.parametrize("to_test", [True, False])
def test_a_bad_test_image_stops_a_run_at_its_start_if_it_is_needed(tmp_path, to_test) -> None:
    for name in ("train", "val", "test"):
        write_many(tmp_path / name, 2)
    (tmp_path / "test" / "1.png").write_bytes(b"")
    data = ImageFolderDataModule(str(tmp_path), size=4)
    data.to_test = to_test
    if to_test:
        with pytest.raises(AttnFlowError, match=r"1\.png: expected a readable image"):
            data.setup("fit")
    else:
        data.setup("fit")
        assert list(data.datasets) == ["train", "val"]


@pytest.mark.parametrize(
    ("limit", "number"), [(1.0, 10), (1, 4), (2, 8), (9, 10), (0.34, 4), (0, 0)]
)
def test_counts_are_those_of_the_images_that_figures_stand_on(tmp_path, limit, number) -> None:
    for name in ("train", "val", "test"):
        write_many(tmp_path / name, 10)
    (tmp_path / "test" / "notes.txt").write_text("")
    data = ImageFolderDataModule(str(tmp_path), size=4, global_batch_size=4)
    data.setup()
    trainer = SimpleNamespace(world_size=1, limit_val_batches=1.0, limit_test_batches=limit)
    assert image_counts(data, trainer) == {
        "data/train_images": 10,
        "data/val_images": 10,
        "data/test_images": number,
        "data/test_left_out": 1,
    }


def test_odd_widths_are_no_pairs(tmp_path) -> None:
    for split in ("train", "val", "test"):
        write_image(tmp_path / split / "0.png", 8, 15, 3)
    with pytest.raises(AttnFlowError, match=r"0\.png: expected a pair .*, got 15 pixels"):
        PairedFolderDataModule(str(tmp_path), size=8).setup()


def test_faces_are_turned_and_laid_over_the_background(tmp_path) -> None:
    """CelebA's files are decoded as any other's."""
    array = np.zeros((178, 218, 4), np.uint8)  # lying on its side, all transparent
    array[:, :109, 3] = 255  # but for its left half, which is black: the top, as it is shown
    exif = Image.Exif()
    exif[0x0112] = 6
    write_twin(tmp_path / "img_align_celeba" / "0.png", array, exif=exif)
    (tmp_path / "list_eval_partition.txt").write_text("0.png 2\n")
    image = CelebADataModule(str(tmp_path), size=None, background=9).dataset("test")[0]["image"]
    assert image.shape == (3, 140, 140)
    assert image[:, :70].unique().tolist() == [0]
    assert image[:, 70:].unique().tolist() == [9]


def test_celeba_has_its_official_split(tmp_path) -> None:
    lines = []
    for number in range(6):
        write_image(tmp_path / "img_align_celeba" / f"{number:06d}.png", 218, 178, 3)
        lines.append(f"{number:06d}.png {number // 2}")
    partition = tmp_path / "list_eval_partition.txt"
    partition.write_text("\n".join(lines) + "\n")
    data = CelebADataModule(str(tmp_path), size=16)
    assert [f.stem for f in data.files("val")] == ["000002", "000003"]
    assert data.dataset("test").fields["image"].shape == (2, 3, 16, 16)
    whole = CelebADataModule(str(tmp_path), size=None)
    assert whole.spec.image_shape == (3, 140, 140)
    face = np.array(Image.open(whole.files("test")[0]))[39:179, 19:159]
    np.testing.assert_array_equal(whole.dataset("test")[0]["image"].permute(1, 2, 0), face)
    partition.unlink()
    with pytest.raises(AttnFlowError, match=r"CelebA in .*, got no list_eval_partition\.txt"):
        data.prepare_data()


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    for split, city in (("train", "aachen"), ("train", "zurich"), ("val", "munster")):
        for number in range(2):
            stem = f"{split}/{city}/{city}_{number:06d}_000019"
            write_image(tmp_path / "leftImg8bit" / f"{stem}_leftImg8bit.png", 16, 32, 3)
            ids = RNG.integers(0, 34, (16, 32), dtype=np.uint8)
            ids[0, 0] = 255  # the licence plate's id is -1
            write_twin(tmp_path / "gtFine" / f"{stem}_gtFine_labelIds.png", ids)
            write_image(tmp_path / "gtFine" / f"{stem}_gtFine_color.png", 16, 32, 4)
    return tmp_path


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("direction", ["label2photo", "photo2label"])
def test_cityscapes_in_both_directions(cityscapes, direction, num_workers, in_memory) -> None:
    data = CityscapesDataModule(
        str(cityscapes),
        direction=direction,
        labels="color",
        size=(16, 32),
        in_memory=in_memory,
        global_batch_size=2,
        num_workers=num_workers,
    )
    data.setup()
    assert {p.parent.name for p in data.photos("train")} == {"aachen"}
    assert {p.parent.name for p in data.photos("val")} == {"zurich"}
    assert {p.parent.name for p in data.photos("test")} == {"munster"}
    batch = next(iter(data.test_dataloader()))
    photo = np.array(Image.open(data.photos("test")[0]))
    name = "image" if direction == "label2photo" else "condition"
    np.testing.assert_array_equal(batch[name][0].permute(1, 2, 0).numpy(), photo)
    assert batch["condition"].shape[1:] == data.spec.condition_shape


def test_cityscapes_labels_as_one_hot(cityscapes) -> None:
    data = CityscapesDataModule(str(cityscapes), size=(16, 32))
    condition = data.dataset("test")[0]["condition"]
    assert condition.shape == data.spec.condition_shape == (35, 16, 32)
    assert (condition.sum(0) == 1).all()
    ids = np.array(Image.open(data.partner(data.photos("test")[0])))
    np.testing.assert_array_equal(condition.argmax(0).numpy(), np.minimum(ids, 34))


def test_cityscapes_says_what_is_missing(cityscapes, tmp_path) -> None:
    with pytest.raises(AttnFlowError, match=r"Cityscapes in .*: expected .*, got 0 photographs"):
        CityscapesDataModule(str(tmp_path / "nowhere")).setup()
    next((cityscapes / "gtFine").rglob("*munster_000000*labelIds.png")).unlink()
    with pytest.raises(AttnFlowError, match=r"expected its label file .*, got none"):
        CityscapesDataModule(str(cityscapes)).setup()
    with pytest.raises(AttnFlowError, match="labels: expected color with direction photo2label"):
        CityscapesDataModule(str(cityscapes), direction="photo2label")
    with pytest.raises(
        AttnFlowError, match=r"size: expected a height and a width of 2 or more, got \[128\]"
    ):
        CityscapesDataModule(str(cityscapes), size=[128])


@pytest.mark.parametrize("form", ["the same", "in other words", "linked", "hard links", "one file"])
def test_a_condition_that_is_the_image_is_refused(tmp_path, form) -> None:
    write_many(tmp_path / "img", 20)
    dirs = {"image_dir": "img", "condition_dir": "cond"}
    if form == "the same":
        dirs["condition_dir"] = "img"
    elif form == "in other words":
        dirs["condition_dir"] = f"../{tmp_path.name}/img/../img"
    elif form == "linked":
        (tmp_path / "cond").symlink_to("img")
    else:
        write_many(tmp_path / "cond", 20)
        for number in range(20 if form == "hard links" else 1):
            (tmp_path / "cond" / f"{number}.png").unlink()
            (tmp_path / "cond" / f"{number}.png").hardlink_to(tmp_path / "img" / f"{number}.png")
    with pytest.raises(AttnFlowError, match=r"expected other files for .*img/0\.png in both"):
        PairedFolderDataModule(str(tmp_path), size=4, **dirs).setup()


def test_copies_of_images_may_be_conditions(tmp_path) -> None:
    write_many(tmp_path / "img", 20)
    write_many(tmp_path / "cond", 20)
    data = PairedFolderDataModule(str(tmp_path), image_dir="img", condition_dir="cond", size=4)
    assert len(data.dataset("train")) == 16


@pytest.mark.parametrize(
    "option",
    [
        {"convert": "false"},
        {"skip_corrupt": "no"},
        {"in_memory": 1},
        {"size": "abc"},
        {"size": 8.0},
        {"num_workers": 1.5},
        {"global_batch_size": True},
        {"seed": "0"},
    ],
)
@pytest.mark.parametrize("make", [ImageFolderDataModule, PairedFolderDataModule])
def test_options_of_another_type_are_refused(tmp_path, make, option) -> None:
    ((name, value),) = option.items()
    with pytest.raises(AttnFlowError, match=f"^{name}: expected .*, got {value!r}.$"):
        make(str(tmp_path), **option)


def test_classes_whose_names_differ_by_their_unicode_form_are_refused(tmp_path) -> None:
    write_many(tmp_path / "caf\u00e9", 10)
    write_many(tmp_path / "cafe\u0301", 10)
    with pytest.raises(AttnFlowError, match=r"differ by Unicode form \(NFC, NFD\) alone"):
        ClassFolderDataModule(str(tmp_path), size=4).setup()


@pytest.mark.parametrize("shape", [(2001, 1), (1, 5000)])
def test_images_that_would_be_scaled_beyond_measure_are_refused(tmp_path, shape) -> None:
    write_image(tmp_path / "0.png", *shape, 3)
    data = ImageFolderDataModule(str(tmp_path), size=8)
    with pytest.raises(AttnFlowError, match=r"0\.png: expected .* less than a thousandth"):
        data.sample(tmp_path / "0.png")
    write_image(tmp_path / "1.png", 900, 1, 3)
    assert data.sample(tmp_path / "1.png")["image"].shape == (3, 8, 8)
