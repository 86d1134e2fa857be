"""The marks by which a split's images are known again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from written import write_image, write_many

from attnflow.data import (
    DigitsDataModule,
    ImageDataModule,
    ImageFolderDataModule,
    LongRangeDataModule,
    PairedFolderDataModule,
    PatchesDataModule,
    PhotosDataModule,
)
from attnflow.data.samples import TensorImages

SPLITS = ("train", "val", "test")


def marks(data: ImageDataModule) -> list[str | None]:
    return [data.mark(split) for split in SPLITS]


def of_folder(folder: Path, **options: object) -> list[str | None]:
    return marks(ImageFolderDataModule(str(folder), size=4, **options))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty images in one folder."""
    write_many(tmp_path / "im", 20)
    return tmp_path / "im"


def test_each_split_has_a_mark_that_options_and_the_place_leave(folder) -> None:
    before = of_folder(folder)
    assert len(set(before)) == 3
    assert of_folder(folder, in_memory=False, augment=[], seed=3) == before
    moved = Path(shutil.copytree(folder, folder.with_name("elsewhere"), copy_function=shutil.copy))
    assert of_folder(moved) == before


def test_a_mark_is_another_once_files_have_other_names_or_sizes(folder) -> None:
    before = of_folder(folder)
    (folder / "0.png").rename(folder / "zz.png")
    assert all(now != then for now, then in zip(of_folder(folder), before, strict=True))
    (folder / "zz.png").rename(folder / "0.png")
    assert of_folder(folder) == before
    file = ImageFolderDataModule(str(folder)).files("val")[0]
    write_image(file, 9, 9, 3)
    assert [now == then for now, then in zip(of_folder(folder), before, strict=True)] == [
        True,
        False,
        True,
    ]


def test_exchanged_images_of_one_size_are_known_by_a_few(tmp_path) -> None:
    """As all files of a format without compression have one size."""
    write_many(tmp_path / "train", 40, ".bmp")
    for split in ("val", "test"):
        write_many(tmp_path / split, 3, ".bmp")
    before = of_folder(tmp_path)
    write_many(tmp_path / "train", 40, ".bmp")
    write_image(tmp_path / "test" / "2.bmp", 4, 4, 3)
    assert [now == then for now, then in zip(of_folder(tmp_path), before, strict=True)] == [
        False,
        True,
        False,
    ]


def test_names_of_splits_folders_are_no_part_of_a_mark_and_those_of_classes_are(tmp_path) -> None:
    for split in SPLITS:
        write_many(tmp_path / split / "a", 3)
    before = of_folder(tmp_path)
    (tmp_path / "val").rename(tmp_path / "dev")
    assert of_folder(tmp_path) == before
    (tmp_path / "dev" / "a").rename(tmp_path / "dev" / "b")
    assert of_folder(tmp_path)[1] != before[1]


def test_a_mark_is_made_as_the_images_are_read(folder) -> None:
    """Files of images that are held in memory may be gone when a checkpoint is written."""
    data = ImageFolderDataModule(str(folder), size=4)
    data.setup("fit")
    before = of_folder(folder)
    shutil.rmtree(folder)
    assert data.splits_read == {
        split: {"images": number, "mark": mark}
        for split, number, mark in zip(SPLITS, (16, 2, 2), before, strict=True)
    }


def test_a_pair_of_two_files_is_marked_by_both(tmp_path) -> None:
    for kind in ("photos", "labels"):
        write_many(tmp_path / kind, 20)

    def of_pairs() -> list[str | None]:
        folders = {"image_dir": "photos", "condition_dir": "labels"}
        return marks(PairedFolderDataModule(str(tmp_path), size=4, **folders))

    before = of_pairs()
    for file in (tmp_path / "labels").iterdir():
        write_image(file, 9, 9, 3)
    assert not set(before) & set(of_pairs())


def test_patches_are_marked_by_their_photographs(tmp_path) -> None:
    for row in range(10):
        write_image(tmp_path / "photos" / f"{row}.png", 8, 8, 3)

    def of_patches(folder: str) -> list[str | None]:
        return marks(PatchesDataModule(str(tmp_path / folder), str(tmp_path / "cache"), size=4))

    before = of_patches("photos")
    (tmp_path / "photos").rename(tmp_path / "moved")
    assert of_patches("moved") == before
    (tmp_path / "moved" / "0.png").rename(tmp_path / "moved" / "z.png")
    assert of_patches("moved") != before


def test_images_in_memory_are_marked_by_what_they_are() -> None:
    digits, again = marks(DigitsDataModule()), marks(DigitsDataModule(seed=2, num_workers=1))
    assert digits == again
    assert len(set(digits)) == 3
    few, other = (LongRangeDataModule(num_train=8, offset=rows) for rows in (1, 2))
    assert marks(few) != marks(other)
    assert marks(PhotosDataModule()) == [None] * 3


def test_every_label_counts_and_the_first_values_of_images() -> None:
    class Made(ImageDataModule):
        def __init__(self, **changes: tuple[int, ...]) -> None:
            super().__init__()
            self.changes = changes

        def read(self, split: str) -> TensorImages:
            fields = {"image": torch.zeros(40, 3, 128, 128), "label": torch.zeros(40)}
            for name, place in self.changes.items():
                fields[name][place] = 1
            return TensorImages(**fields)

    plain = Made().mark("train")
    assert Made(label=(39,)).mark("train") != plain
    assert Made(image=(0, 2, 127, 127)).mark("train") != plain
    assert Made(image=(39, 2, 127, 127)).mark("train") == plain
