"""Patches of photographs: which ones, in which split, and the files that they are kept in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from PIL import Image
from torchvision.transforms import v2
from written import pixels, write_image, write_twin

from attnflow import AttnFlowError
from attnflow.data import NaturalDataModule, PatchesDataModule
from attnflow.data import patch_cache as cache_file
from attnflow.data.counts import image_counts

SPLITS = ("train", "val", "test")


def make(folder: Path, **options) -> PatchesDataModule:
    """Patches of 4 x 4 pixels, at a stride of 2."""
    options = {"size": 4, "stride": 2, **options}
    return PatchesDataModule(str(folder), str(folder.parent / "cache"), **options)


def images(data: PatchesDataModule, split: str) -> np.ndarray:
    """All patches of a split: (N, C, H, W)."""
    samples = data.dataset(split)
    return samples.__getitems__(range(len(samples)))["image"].numpy()


def cut(photograph: np.ndarray, size: int, stride: int) -> np.ndarray:
    """All patches of a photograph (H, W, C), one by one: (N, C, size, size)."""
    height, width = photograph.shape[:2]
    return np.stack(
        [
            photograph[top : top + size, left : left + size].transpose(2, 0, 1)
            for top in range(0, height - size + 1, stride)
            for left in range(0, width - size + 1, stride)
        ]
    )


@pytest.fixture
def three_folders(tmp_path: Path) -> dict[str, list[np.ndarray]]:
    """Photographs of different sizes in folders train, val and test; theirs pixels."""
    sizes = {"train": [(9, 12), (4, 4), (8, 17)], "val": [(10, 11)], "test": [(12, 8), (5, 7)]}
    return {
        split: [
            write_image(tmp_path / "photos" / split / f"{number}.png", *size, 3)
            for number, size in enumerate(sizes[split])
        ]
        for split in SPLITS
    }


@pytest.mark.parametrize("most", [None, 7])
def test_patches_are_those_of_the_photographs(tmp_path, three_folders, most) -> None:
    """Cut here one by one, shuffled by one generator, split by split."""
    data = make(tmp_path / "photos", max_train=most, max_val=most, max_test=2)
    generator = np.random.RandomState(0)
    for split, kept in zip(SPLITS, (most, most, 2), strict=True):
        stride = 2 if split == "train" else 4
        every = np.concatenate([cut(photo, 4, stride) for photo in three_folders[split]])
        expected = every[generator.permutation(len(every))[:kept]]
        np.testing.assert_array_equal(images(data, split), expected)


def test_patches_do_not_depend_on_what_is_read_first(tmp_path, three_folders) -> None:
    first = images(make(tmp_path / "photos"), "test")
    shutil.rmtree(tmp_path / "cache")
    data = make(tmp_path / "photos")
    images(data, "train")
    np.testing.assert_array_equal(images(data, "test"), first)


def test_evaluation_patches_may_overlap(tmp_path, three_folders) -> None:
    assert len(make(tmp_path / "photos").dataset("val")) == 4
    assert len(make(tmp_path / "photos", eval_stride=1).dataset("val")) == 7 * 8


def test_larger_photographs_are_scaled_by_lanczos(tmp_path) -> None:
    for split in SPLITS:
        photo = write_image(tmp_path / "photos" / split / "0.png", 33, 20, 3)
        small = write_image(tmp_path / "photos" / split / "1.png", 8, 7, 3)
    scaled = np.asarray(Image.fromarray(photo).resize((7, 12), Image.Resampling.LANCZOS))
    data = make(tmp_path / "photos", long_side=12)
    expected = np.concatenate([cut(scaled, 4, 4), cut(small, 4, 4)])
    generator = np.random.RandomState(0)
    orders = [generator.permutation(number) for number in (5 * 2 + 3 * 2, 5, 5)]
    np.testing.assert_array_equal(images(data, "test"), expected[orders[2]])


def test_photographs_are_decoded_as_any_image(tmp_path) -> None:
    """Turned as their EXIF says, laid over the background, of few bits and of one channel."""
    lying = pixels(8, 4)  # stored lying on its side: orientation 6 turns it by 90 degrees
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = np.dstack([pixels(4, 4, 3), np.zeros((4, 4), np.uint8)])
    for split in SPLITS:
        write_twin(tmp_path / "photos" / split / "0.png", lying, exif=exif)
        write_twin(tmp_path / "photos" / split / "1.png", clear)
    options = {"channels": 1, "convert": True, "num_bits": 3, "background": 64}
    data = make(tmp_path / "photos", **options)
    assert data.spec.image_shape == (1, 4, 4)
    assert data.spec.num_bins == 8
    found = {patch.tobytes() for patch in images(data, "val")}
    upright = np.rot90(lying, -1) >> 5
    expected = [upright[:, :4], upright[:, 4:], np.full((4, 4), 64 >> 5, np.uint8)]
    assert found == {patch.tobytes() for patch in expected}


def test_deep_photographs_are_refused_by_name(tmp_path) -> None:
    write_image(tmp_path / "photos" / "0.png", 8, 8, 3)
    write_image(tmp_path / "photos" / "1.png", 8, 8, 3)
    write_twin(tmp_path / "photos" / "2.png", np.full((8, 8), 1000, np.uint16))
    with pytest.raises(AttnFlowError, match=r"2\.png: expected 8 bits a grey value"):
        make(tmp_path / "photos").setup("fit")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("number", [3, 4, 9, 10, 25])
def test_no_photograph_is_in_two_splits(tmp_path, number) -> None:
    """Cut into splits whole, and the same way each time; each photograph is of one grey value."""
    for value in range(number):
        grey = np.full((8, 8, 3), value, np.uint8)
        write_twin(tmp_path / "photos" / f"{value:02d}.png", grey)
    data = make(tmp_path / "photos")
    values = {split: set(images(data, split).flatten().tolist()) for split in SPLITS}
    assert set.union(*values.values()) == set(range(number))
    assert sum(map(len, values.values())) == number
    expected = {3: (1, 1, 1), 4: (2, 1, 1), 9: (7, 1, 1), 10: (8, 1, 1), 25: (20, 2, 3)}
    assert tuple(len(values[split]) for split in SPLITS) == expected[number]


def test_flips_are_the_usual_augmentation(tmp_path, three_folders) -> None:
    data = make(tmp_path / "photos", augment=[v2.RandomHorizontalFlip(p=1.0)], global_batch_size=5)
    batch = next(iter(data.train_dataloader()))
    stored = images(data, "train")[batch["index"]]
    np.testing.assert_array_equal(batch["image"].numpy(), stored[..., ::-1])


def test_counts_of_photographs_and_patches_are_told(tmp_path, three_folders, caplog) -> None:
    photos = tmp_path / "photos"
    (photos / "train" / "2.png").write_bytes(b"")
    (photos / "test" / "notes.txt").write_text("")
    data = make(photos, max_train=10, skip_corrupt=True)
    with caplog.at_level("INFO", "attnflow.data"):
        data.setup("fit")
    messages = [record.getMessage() for record in caplog.records]
    assert f"cutting 6 photographs into patches, once: {data.cache.folder}" in messages
    assert messages[-3:] == [
        f"train: 10 images of 2 photographs of {photos}/train (16 patches), left out: 1 damaged",
        f"val: 4 images of 1 photographs of {photos}/val (4 patches)",
        f"test: 7 images of 2 photographs of {photos}/test (7 patches), left out: 1 .txt files",
    ]
    trainer = SimpleNamespace(world_size=1, limit_val_batches=1.0, limit_test_batches=1.0)
    assert image_counts(data, trainer) == {
        "data/train_images": 10,
        "data/train_photographs": 2,
        "data/train_left_out": 1,
        "data/val_images": 4,
        "data/val_photographs": 1,
        "data/test_images": 7,
        "data/test_photographs": 2,
        "data/test_left_out": 1,
    }
    with pytest.raises(AttnFlowError, match=r"2\.png: expected a readable image"):
        make(photos).setup("fit")


def test_all_photographs_corrupt(tmp_path, three_folders) -> None:
    (tmp_path / "photos" / "val" / "0.png").write_bytes(b"")
    with pytest.raises(AttnFlowError, match=r"the val split: expected .* readable, got 1, all cor"):
        make(tmp_path / "photos", skip_corrupt=True).setup("fit")


def test_patches_are_cut_once(tmp_path, three_folders, monkeypatch) -> None:
    before = images(make(tmp_path / "photos"), "train")
    monkeypatch.setattr(cache_file, "open_image", None)  # nothing can be decoded any more
    np.testing.assert_array_equal(images(make(tmp_path / "photos"), "train"), before)


@pytest.mark.parametrize(
    "changed",
    [
        {"size": 3},
        {"stride": 1},
        {"eval_stride": 1},
        {"long_side": 11},
        {"max_train": 3},
        {"max_val": 1},
        {"max_test": 1},
        {"convert": True, "channels": 1},
        {"background": "black"},
        {"skip_corrupt": True},
        "content",
        "time",
        "another file",
    ],
    ids=str,
)
def test_what_decides_the_patches_names_their_cache(tmp_path, three_folders, changed) -> None:
    make(tmp_path / "photos").setup("fit")
    file = tmp_path / "photos" / "train" / "0.png"
    if changed == "content":
        write_image(file, 9, 12, 3)
    elif changed == "time":
        os.utime(file, ns=(1, 1))
    elif changed == "another file":
        write_image(tmp_path / "photos" / "val" / "1.png", 4, 4, 3)
    make(tmp_path / "photos", **(changed if isinstance(changed, dict) else {})).setup("fit")
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_bits_loading_and_links_share_a_cache(tmp_path, three_folders) -> None:
    make(tmp_path / "photos").setup("fit")
    make(tmp_path / "photos", num_bits=5, seed=3, global_batch_size=2).setup("fit")
    (tmp_path / "link").symlink_to("photos")
    make(tmp_path / "link" / ".." / "link").setup("fit")
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_several_processes_may_cut_at_once(tmp_path, three_folders) -> None:
    """Threads stand for ranks: all find no cache, and all write one."""
    made = [make(tmp_path / "photos") for _ in range(3)]
    barrier = threading.Barrier(3)
    failures = []

    def prepare(data: PatchesDataModule) -> None:
        assert not data.cache.is_whole
        barrier.wait()
        try:
            data.cache.make()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=prepare, args=(data,)) for data in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [folder.name for folder in (tmp_path / "cache").iterdir()] == [made[0].cache.folder.name]
    assert len(images(made[2], "val")) == 4


def test_a_full_disk_leaves_nothing(tmp_path, three_folders, monkeypatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(AttnFlowError, match=r"train\.npy could .*: No space left .*cache_dir=PATH"):
        make(tmp_path / "photos").prepare_data()
    assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "file").write_text("")
    data = PatchesDataModule(str(tmp_path / "photos"), str(tmp_path / "file"), size=4)
    with pytest.raises(AttnFlowError, match="could not be written: Not a directory"):
        data.prepare_data()


def test_a_damaged_cache_is_named(tmp_path, three_folders) -> None:
    data = make(tmp_path / "photos")
    data.prepare_data()
    data.cache.file("val").write_bytes(b"")
    with pytest.raises(AttnFlowError, match=r"val\.npy: expected .* the patches are cut anew"):
        data.dataset("val")


def test_photographs_to_test_on_alone(tmp_path) -> None:
    photo = write_image(tmp_path / "photos" / "test" / "0.png", 8, 8, 3)
    data = make(tmp_path / "photos")
    expected = cut(photo, 4, 4)[np.random.RandomState(0).permutation(4)]
    np.testing.assert_array_equal(images(data, "test"), expected)
    with pytest.raises(AttnFlowError, match="or more of the train split, got those of test alone"):
        data.dataset("train")


def write_list(folder: Path, *lines: str, header: str = "split,path") -> str:
    """A split file; returns its path."""
    file = folder / "splits.csv"
    file.write_text("\n".join([header, *lines]) + "\n")
    return str(file)


def test_a_list_says_the_split_of_each_photograph(tmp_path) -> None:
    """Whatever the folders are called; what it does not name is not read."""
    for name in ("train/a.png", "train/b.png", "x/c.png", "x/damaged.png"):
        write_image(tmp_path / "photos" / name, 4, 4, 3)
    (tmp_path / "photos" / "x" / "damaged.png").write_bytes(b"")
    listed = write_list(tmp_path, "test,train/a.png", "", "val, x/c.png", "train,train/b.png")
    data = make(tmp_path / "photos", split_file=listed)
    for split, name in (("test", "train/a.png"), ("val", "x/c.png"), ("train", "train/b.png")):
        expected = cut(np.asarray(Image.open(tmp_path / "photos" / name)), 4, 4)
        np.testing.assert_array_equal(images(data, split), expected)
    assert data.settled["split_file"] == listed


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["train,0.png", "val,gone.png"], r"line 3: expected a file below .*, got 'gone\.png'"),
        (["train,."], r"line 2: expected a file below .*, got '\.'"),
        (["train,0.png", "test,0.png"], r"line 3: expected each photograph once.* line 2 names"),
        (["train,0.png", "train,./0.png"], r"line 3: expected each photograph once.* line 2 names"),
        (["train,0.png", "val,link.png"], r"line 3: expected each photograph once.* line 2 names"),
        (["valid,0.png"], r"line 2: expected a split, train, val, test, got 'valid'"),
        (["train"], r"line 2: expected a split and a path, got 'train'"),
        (["train,a,0.png"], r"line 2: expected a split and a path, got 'train,a,0\.png'"),
        ([], r"splits\.csv: expected lines such as train,1\.jpg, got none"),
        (["train,0.png", "test,1.png"], "or more of the val split, got those of train and test"),
    ],
)
def test_bad_lists_are_named(tmp_path, lines, message) -> None:
    for name in ("0.png", "1.png"):
        write_image(tmp_path / "photos" / name, 4, 4, 3)
    (tmp_path / "photos" / "link.png").symlink_to("0.png")
    with pytest.raises(AttnFlowError, match=message) as refusal:
        make(tmp_path / "photos", split_file=write_list(tmp_path, *lines)).setup("fit")
    assert "\n" not in str(refusal.value)


def test_what_is_no_list_is_named(tmp_path) -> None:
    with pytest.raises(AttnFlowError, match=r"line 1: expected split,path, got 'train,0\.png'"):
        make(tmp_path, split_file=write_list(tmp_path, header="train,0.png")).setup("fit")
    for wrong in (tmp_path / "gone.csv", tmp_path):
        with pytest.raises(AttnFlowError, match=r"split_file: expected a CSV .* cannot be read \("):
            make(tmp_path, split_file=str(wrong)).setup("fit")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AttnFlowError, match=r"split_file: expected a CSV .* cannot be read \("):
        make(tmp_path, split_file=str(tmp_path / "binary.csv")).setup("fit")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_fewer_photographs_than_splits(tmp_path, number) -> None:
    (tmp_path / "photos").mkdir()
    for name in range(number):
        write_image(tmp_path / "photos" / f"{name}.png", 4, 4, 3)
    message = f"photos: expected 3 images or more to cut into splits, .* got {number} images"
    with pytest.raises(AttnFlowError, match=message if number else "got no image"):
        make(tmp_path / "photos").setup("fit")


def test_photographs_smaller_than_a_patch(tmp_path) -> None:
    for number in range(3):
        write_image(tmp_path / "photos" / f"{number}.png", 3, 9, 3)
    message = r"\.png: expected a photograph of 4 x 4 pixels \(data\.size\) or more, got 9 x 3\.$"
    with pytest.raises(AttnFlowError, match=message):
        make(tmp_path / "photos").setup("fit")
    write_image(tmp_path / "long" / "0.png", 6, 200, 3)
    for name in ("1.png", "2.png"):
        write_image(tmp_path / "long" / name, 6, 200, 3)
    with pytest.raises(AttnFlowError, match=r"got 20 x 1, scaled to data\.long_side\.$"):
        make(tmp_path / "long", long_side=20).setup("fit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 1}, "size: expected a whole number of 2 or more, got 1."),
        ({"stride": 0}, "stride: expected a whole number of 1 or more, got 0."),
        ({"stride": None}, "stride: expected a whole number of 1 or more, got None."),
        ({"eval_stride": 0}, "eval_stride: expected a whole number of 1 or more, got 0."),
        ({"long_side": 3}, "long_side: expected a whole number of 4 or more, got 3."),
        ({"max_val": 0}, "max_val: expected a whole number of 1 or more, got 0."),
        ({"channels": 2}, "channels: expected one of 1, 3, got 2."),
        ({"num_bits": 9}, "num_bits: expected a whole number from 1 to 8, got 9."),
        ({"convert": "yes"}, "convert: expected true or false, got 'yes'."),
        ({"split_file": 3}, "split_file: expected text or null, got 3."),
        ({"splits": {}, "split_file": "a.csv"}, "expected no data.splits beside it, got 'a.csv'"),
    ],
)
def test_bad_options_are_named(tmp_path, options, message) -> None:
    with pytest.raises(AttnFlowError, match=re.escape(message)):
        make(tmp_path, **options)


def test_a_checkpoint_holds_absolute_paths(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = PatchesDataModule("photos", "cache", split_file="list.csv")
    assert data.settled == {
        "data_dir": str(tmp_path / "photos"),
        "cache_dir": str(tmp_path / "cache"),
        "split_file": str(tmp_path / "list.csv"),
    }
    natural = NaturalDataModule("natural", "cache")
    assert natural.settled == {
        "data_dir": str(tmp_path / "natural"),
        "cache_dir": str(tmp_path / "cache"),
    }


def test_the_natural_images_are_a_fixed_list(tmp_path) -> None:
    """37 files of the Debian packages, of which each is in one split."""
    with pytest.raises(AttnFlowError, match=r"got 'backgrounds/.* make data-natural fetches"):
        NaturalDataModule(str(tmp_path), str(tmp_path / "cache")).setup("fit")
    file = Path(cache_file.__file__).with_name("natural_split.csv")
    names = [line.split(",", 1)[1] for line in file.read_text().splitlines()[1:]]
    for name in names:
        write_image(tmp_path / name, 16, 24, 3)
    data = NaturalDataModule(str(tmp_path), str(tmp_path / "cache"))
    data.setup("fit")
    assert [len(data.found[split].files) for split in SPLITS] == [27, 4, 6]
    assert [len(data.dataset(split)) for split in SPLITS] == [27 * 2, 4, 6]


@pytest.mark.parametrize(("name", "size", "stride"), [("natural16", 16, 8), ("natural32", 32, 16)])
def test_natural_configs_are_those_of_the_benchmark(name, size, stride) -> None:
    options = [f"data={name}", "paths.root_dir=/nowhere", "paths.output_dir=/nowhere"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        data = instantiate(compose("train", options).data)
    assert data.spec.image_shape == (3, size, size)
    assert data.cutting.strides == {"train": stride, "val": size, "test": size}
    assert data.cutting.most == {"train": 40_000, "val": 1_000, "test": 2_000}
    assert data.cutting.long_side == 640


def test_make_fetches_the_packages_into_the_folder_of_the_config() -> None:
    commands = subprocess.run(
        ["make", "-n", "data-natural"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    packages = re.search("cd data/natural && apt-get download (.*)", commands)
    assert packages is not None
    assert packages[1].split() == [
        "plasma-workspace-wallpapers",
        "lomiri-wallpapers-16.04",
        "lomiri-wallpapers-20.04",
        "mate-backgrounds",
    ]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", ["data=natural16", "paths.root_dir=."])
    assert config.data.data_dir == "./data/natural/usr/share"
