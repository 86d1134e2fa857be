"""Public data sets, from small files in their official formats."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from official_files import SETS, write_cifar10, write_imagenet32, write_mnist, write_pickle
from torchvision.datasets import cifar, svhn, utils
from torchvision.transforms import v2

from attnflow import AttnFlowError
from attnflow.data import (
    CIFAR10DataModule,
    CIFAR100DataModule,
    DigitsInpaintDataModule,
    DownsampledImageNetDataModule,
    MNISTDataModule,
    PhotosColorizeDataModule,
    SVHNDataModule,
)


@pytest.fixture(autouse=True)
def _any_checksum(monkeypatch) -> None:
    """Small files have other checksums than the official ones; nothing else is replaced."""
    for module in (cifar, svhn, utils):
        monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: Path(path).is_file())
    for module in (MNISTDataModule, CIFAR10DataModule, CIFAR100DataModule, SVHNDataModule):
        monkeypatch.setattr(module, "num_val", 5)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("name", SETS)
def test_official_files_are_read(name, num_workers, tmp_path) -> None:
    make, write = SETS[name]
    test = write(tmp_path)
    data = make(str(tmp_path), global_batch_size=4, num_workers=num_workers)
    data.prepare_data()
    data.setup()
    images = torch.cat([batch["image"] for batch in data.test_dataloader()])
    np.testing.assert_array_equal(images.flatten(1).numpy(), test.reshape(len(test), -1))
    assert images.shape[1:] == data.spec.image_shape
    assert images.dtype == torch.uint8
    batch = next(iter(data.train_dataloader()))
    assert batch["label"].min() >= 0
    assert batch["label"].max() < data.spec.num_classes


@pytest.mark.parametrize("name", SETS)
def test_splits_are_disjoint_and_whole(name, tmp_path) -> None:
    make, write = SETS[name]
    write(tmp_path)
    data = make(str(tmp_path), num_bits=8)
    data.prepare_data()
    train, val = (
        {image.numpy().tobytes() for image in data.dataset(s).__getitems__(range(4))["image"]}
        for s in ("train", "val")
    )
    assert not train & val
    whole = 40 if name == "imagenet32" else 20
    assert len(data.dataset("train")) + len(data.dataset("val")) == whole


@pytest.mark.parametrize("name", [n for n in SETS if n != "imagenet32"])
def test_missing_files_are_named_with_their_place(name, tmp_path) -> None:
    data = SETS[name][0](str(tmp_path / "empty"), download=False)
    with pytest.raises(AttnFlowError, match=str(tmp_path / "empty")) as raised:
        data.prepare_data()
    assert ", ".join(data.files) in str(raised.value)


def test_compressed_mnist_files_are_unpacked(tmp_path) -> None:
    test = write_mnist(tmp_path, "MNIST", ".gz")
    data = MNISTDataModule(str(tmp_path))
    data.prepare_data()
    np.testing.assert_array_equal(data.dataset("test").fields["image"][:, 0], test)


def test_missing_imagenet_batches_are_named(tmp_path) -> None:
    write_imagenet32(tmp_path)
    for name in ("train_data_batch_7", "val_data"):
        (tmp_path / name).unlink()
    with pytest.raises(AttnFlowError, match="got no train_data_batch_7, val_data"):
        DownsampledImageNetDataModule(str(tmp_path)).prepare_data()


def test_imagenet_is_mapped_and_not_copied_to_workers(tmp_path) -> None:
    write_imagenet32(tmp_path)
    data = DownsampledImageNetDataModule(str(tmp_path))
    dataset = data.dataset("train")
    before = dataset[3]
    assert isinstance(dataset.images, np.memmap)
    pickled = pickle.dumps(dataset)
    assert len(pickled) < dataset.images.nbytes / 10
    assert torch.equal(pickle.loads(pickled)[3]["image"], before["image"])
    assert not list(tmp_path.glob("*.tmp*"))


@pytest.mark.parametrize("labels", [[0] * 6, [1001] * 6, [1] * 5])
def test_imagenet_labels_are_checked(tmp_path, labels) -> None:
    write_imagenet32(tmp_path)
    write_pickle(tmp_path / "val_data", {"data": np.zeros((6, 3072), np.uint8), "labels": labels})
    with pytest.raises(AttnFlowError, match=r"val_data: expected a label .*, got 6 images"):
        DownsampledImageNetDataModule(str(tmp_path)).prepare_data()


def test_imagenet_of_another_size_and_damaged_batches_are_named(tmp_path) -> None:
    write_imagenet32(tmp_path)
    with pytest.raises(AttnFlowError, match=r"train_data_batch_1: expected rows .* got rows"):
        DownsampledImageNetDataModule(str(tmp_path), size=64).prepare_data()
    whole = (tmp_path / "val_data").read_bytes()
    (tmp_path / "val_data").write_bytes(whole[:100])
    data = DownsampledImageNetDataModule(str(tmp_path))
    with pytest.raises(AttnFlowError, match=r"val_data: expected .* cannot be read"):
        data.prepare_data()
    (tmp_path / "val_data").write_bytes(whole)
    data.prepare_data()
    assert len(data.dataset("test")) == 6


@pytest.mark.parametrize("length", [0, 3, 6, 2000])
@pytest.mark.parametrize("prepare", [True, False])
def test_a_truncated_file_is_named(tmp_path, length, prepare) -> None:
    write_mnist(tmp_path, "MNIST")
    file = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:length])
    data = MNISTDataModule(str(tmp_path))
    with pytest.raises(AttnFlowError, match=r"holds damaged MNIST/raw/t10k-images-idx3-ubyte, and"):
        data.prepare_data() if prepare else data.dataset("test")


def test_padding_is_zeros_and_is_known_to_the_spec(tmp_path) -> None:
    write_mnist(tmp_path, "MNIST")
    data = MNISTDataModule(str(tmp_path), padding=2)
    assert data.spec.image_shape == (1, 32, 32)
    assert data.spec.unpadded_shape == (1, 28, 28)
    images = data.dataset("test").fields["image"]
    assert images[:, :, 2:-2, 2:-2].sum() == images.sum() > 0


def test_reduced_bits(tmp_path) -> None:
    test = write_cifar10(tmp_path)
    data = CIFAR10DataModule(str(tmp_path), num_bits=5)
    assert data.spec.num_bins == 32
    images = data.dataset("test").fields["image"]
    np.testing.assert_array_equal(images.flatten(1).numpy(), test // 8)


AUGMENT = (v2.RandomCrop(32, padding=3), v2.RandomHorizontalFlip())


def epochs_of(data: PhotosColorizeDataModule, number: int) -> list[list[dict]]:
    """The batches of some epochs of training."""
    loader = data.train_dataloader()
    epochs = []
    for epoch in range(number):
        loader.sampler.set_epoch(epoch)
        epochs.append(list(loader))
    return epochs


def test_augmentation_is_a_function_of_seed_epoch_and_sample() -> None:
    """Not of workers or batch size; validation keeps its images."""
    collected = []
    for options in ({"global_batch_size": 8}, {"global_batch_size": 5, "num_workers": 2}):
        data = PhotosColorizeDataModule(size=32, augment=AUGMENT, **options)
        data.datasets["train"] = torch.utils.data.Subset(data.dataset("train"), range(40))
        epochs = epochs_of(data, 2)
        by_index = [
            {int(i): x for b in epoch for i, x in zip(b["index"], b["image"], strict=True)}
            for epoch in epochs
        ]
        collected.append(by_index)
    first, second = collected
    assert first[0].keys() == set(range(40))
    assert all(torch.equal(first[e][i], second[e][i]) for e in (0, 1) for i in range(40))
    assert sum(not torch.equal(first[0][i], first[1][i]) for i in range(40)) > 30
    plain = PhotosColorizeDataModule(size=32).dataset("val").fields["image"]
    batch = next(iter(data.val_dataloader()))
    assert torch.equal(batch["image"], plain[batch["index"]])


def test_a_pair_shares_its_augmentation() -> None:
    data = PhotosColorizeDataModule(size=32, augment=AUGMENT, global_batch_size=8)
    batch = next(iter(data.train_dataloader()))
    luma = torch.tensor([0.299, 0.587, 0.114])
    grey = torch.einsum("nchw,c->nhw", batch["image"].float(), luma).round()
    assert (grey - batch["condition"][:, 0].float()).abs().max() <= 1


def test_augmentation_must_keep_the_shape() -> None:
    data = PhotosColorizeDataModule(size=32, augment=(v2.CenterCrop(8),))
    with pytest.raises(
        AttnFlowError,
        match=r"data\.augment: expected .* the shape of the image, .* got \(3, 8, 8\)",
    ):
        next(iter(data.train_dataloader()))
    data = PhotosColorizeDataModule(size=32, augment=(v2.ToDtype(torch.float32, scale=True),))
    with pytest.raises(AttnFlowError, match=r"whole numbers, got image of torch\.float32"):
        next(iter(data.train_dataloader()))


def test_augmentation_leaves_all_generators_alone(monkeypatch) -> None:
    """Or dropout would repeat itself; accelerators' generators are not seeded at all."""

    def refuse(seed: int) -> None:
        raise AssertionError("the accelerator's generator was seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    data = PhotosColorizeDataModule(size=32, augment=AUGMENT, global_batch_size=8)
    batches = iter(data.train_dataloader())
    before = torch.get_rng_state()
    next(batches)
    assert torch.equal(torch.get_rng_state(), before)


def test_validation_and_test_images_are_not_augmented() -> None:
    plain, data = (PhotosColorizeDataModule(size=32, augment=a) for a in ((), AUGMENT))
    for loader in ("val_dataloader", "test_dataloader"):
        pairs = zip(getattr(plain, loader)(), getattr(data, loader)(), strict=True)
        assert all(torch.equal(a[n], b[n]) for a, b in pairs for n in ("image", "condition"))


def test_digits_inpaint_is_one_digit_in_two_halves() -> None:
    data = DigitsInpaintDataModule()
    fields = data.dataset("test").fields
    assert fields["image"].shape[1:] == data.spec.image_shape == (1, 8, 4)
    assert fields["condition"].shape[1:] == data.spec.condition_shape
    assert data.spec.condition_bins == 17


@pytest.mark.parametrize("augment", ["abc", None, 3, {"flip": 1}])
def test_an_augmentation_that_is_no_list_is_named(augment) -> None:
    with pytest.raises(AttnFlowError, match=r"data\.augment: expected a list of torchvision"):
        PhotosColorizeDataModule(augment=augment)


@pytest.mark.parametrize("element", ["abc", None, v2.RandomHorizontalFlip])
def test_what_is_no_transform_is_named(element) -> None:
    with pytest.raises(AttnFlowError, match=r"data\.augment\[1\]: expected a torchvision v2"):
        PhotosColorizeDataModule(augment=[v2.RandomHorizontalFlip(), element])


@pytest.mark.parametrize(
    "transform",
    [
        v2.RandomCrop(99),
        v2.Normalize([0.5], [0.5]),
        v2.MixUp(num_classes=3),
        lambda pictures: list(pictures.values()),
    ],
)
def test_transforms_that_fail_are_told_by_their_number(transform) -> None:
    data = PhotosColorizeDataModule(size=32, augment=[v2.RandomHorizontalFlip(), transform])
    with pytest.raises(AttnFlowError, match=r"^data\.augment\[1\]: expected a transform "):
        next(iter(data.train_dataloader()))
