"""Users' folders, CelebA and Cityscapes, from small trees of real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from attnflow import AttnFlowError
from attnflow.data import (
    CelebADataModule,
    CityscapesDataModule,
    ClassFolderDataModule,
    ImageFolderDataModule,
    PairedFolderDataModule,
)

RNG = np.random.default_rng(0)


def write_image(path: Path, *shape: int) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


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
        str(tree), size=8, in_memory=in_memory, num_workers=num_workers, batch_size=2
    )
    data.setup()
    splits = [set(data.files(split)) for split in ("train", "val", "test")]
    assert [len(files) for files in splits] == [16, 2, 2]
    assert len(set.union(*splits)) == 20
    batch = next(iter(data.test_dataloader()))
    assert batch["image"].shape == (2, *data.spec.image_shape)
    assert batch["image"].dtype == torch.uint8
    assert batch["index"].tolist() == [0, 1]


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
    with pytest.raises(AttnFlowError, match="nowhere does not exist"):
        ImageFolderDataModule(str(tmp_path / "nowhere")).setup()
    (tmp_path / "empty").mkdir()
    with pytest.raises(AttnFlowError, match="empty holds no image"):
        ImageFolderDataModule(str(tmp_path / "empty")).setup()
    write_image(tmp_path / "few" / "0.png", 8, 8, 3)
    with pytest.raises(AttnFlowError, match=r"1 images below .* are too few"):
        ImageFolderDataModule(str(tmp_path / "few")).setup()


@pytest.mark.parametrize("damage", ["truncated", "not an image"])
def test_corrupt_images_are_named_and_skipped_only_on_request(tree, damage, caplog) -> None:
    data = ImageFolderDataModule(str(tree), size=8)
    victim = data.files("train")[3]
    whole = victim.read_bytes()
    victim.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"hello")
    with pytest.raises(AttnFlowError, match=f"{victim.name} is no readable image"):
        data.setup()
    data = ImageFolderDataModule(str(tree), size=8, skip_corrupt=True)
    data.setup()
    assert len(data.dataset("train")) == 15
    assert "skipped 1 of 16 images" in caplog.text
    with pytest.raises(AttnFlowError, match=r"in_memory=true is accepted"):
        ImageFolderDataModule(str(tree), skip_corrupt=True, in_memory=False)


def test_grey_and_colour_are_not_mixed_up(tree) -> None:
    write_image(tree / "grey.png", 8, 8)
    with pytest.raises(AttnFlowError, match=r"grey\.png is a grey image where colour is expected"):
        ImageFolderDataModule(str(tree), size=8).setup()
    with pytest.raises(AttnFlowError, match="is a colour image where grey is expected"):
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
    with pytest.raises(AttnFlowError, match=r"num_classes is 3, but .* has 2 class folders"):
        ClassFolderDataModule(str(tmp_path), num_classes=3).setup()


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


def write_twin(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def paired(folder: Path, **options) -> PairedFolderDataModule:
    names = {"image_dir": "photos", "condition_dir": "maps"}
    return PairedFolderDataModule(str(folder), size=8, **names, **options)


def test_pairs_of_two_folders_share_their_augmentation(two_folders) -> None:
    augment = (v2.RandomHorizontalFlip(), v2.RandomCrop(8, padding=2))
    data = paired(two_folders, augment=augment, batch_size=8)
    batch = next(iter(data.train_dataloader()))
    assert torch.equal(batch["image"], batch["condition"])
    stored = data.dataset("train").fields["image"][batch["index"]]
    assert not torch.equal(batch["image"], stored)


def test_mismatched_pairs_are_named(two_folders) -> None:
    (two_folders / "maps" / "4.bmp").unlink()
    with pytest.raises(AttnFlowError, match=r"4 is in .*photos but has no partner in .*maps"):
        paired(two_folders).setup()
    write_image(two_folders / "maps" / "4.bmp", 8, 6, 3)
    with pytest.raises(AttnFlowError, match=r"has sizes \(8, 8\) and \(8, 6\)"):
        paired(two_folders).setup()
    with pytest.raises(AttnFlowError, match=r"image_dir is photos and data\.condition_dir is None"):
        PairedFolderDataModule(str(two_folders), image_dir="photos")


def test_odd_widths_are_no_pairs(tmp_path) -> None:
    for split in ("train", "val", "test"):
        write_image(tmp_path / split / "0.png", 8, 15, 3)
    with pytest.raises(AttnFlowError, match=r"0\.png is 15 pixels wide"):
        PairedFolderDataModule(str(tmp_path), size=8).setup()


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
    partition.unlink()
    with pytest.raises(AttnFlowError, match=r"CelebA lacks list_eval_partition\.txt in"):
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


@pytest.mark.parametrize("direction", ["label2photo", "photo2label"])
def test_cityscapes_in_both_directions(cityscapes, direction) -> None:
    data = CityscapesDataModule(
        str(cityscapes), direction=direction, labels="color", size=(16, 32), batch_size=2
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
    with pytest.raises(AttnFlowError, match="Cityscapes has 0 photographs"):
        CityscapesDataModule(str(tmp_path / "nowhere")).setup()
    next((cityscapes / "gtFine").rglob("*munster_000000*labelIds.png")).unlink()
    with pytest.raises(AttnFlowError, match="has no label file"):
        CityscapesDataModule(str(cityscapes)).setup()
    with pytest.raises(AttnFlowError, match="labels=color is accepted"):
        CityscapesDataModule(str(cityscapes), direction="photo2label")
