"""Data sets of the library datasets, from small local files, without a network."""

from __future__ import annotations

import io
import json
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from conftest import results
from PIL import Image
from torchvision.transforms import v2
from written import pixels, write_twin

from attnflow import AttnFlowError
from attnflow.data import HuggingFaceDataModule
from attnflow.data.counts import image_counts

CLASSES = ["ant", "bee", "cat"]
SPLITS = ("train", "val", "test")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No network, and no file outside of the test's folder."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "library")
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def encoded(array: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of an image file."""
    content = io.BytesIO()
    Image.fromarray(array).save(content, kind, **options)
    return content.getvalue()


def write_parquet(
    file: Path, images: list[bytes | None], labels: list | None = None, feature: Any = None
) -> None:
    """A parquet file as the library writes it, with a column of images and one of labels."""
    columns: dict[str, Any] = {
        "image": [image and {"bytes": image, "path": None} for image in images]
    }
    features = {"image": datasets.Image()}
    if labels is not None:
        columns["label"] = labels
        features["label"] = feature or datasets.ClassLabel(names=CLASSES)
    file.parent.mkdir(parents=True, exist_ok=True)
    table = datasets.Dataset.from_dict(columns, datasets.Features(features))
    table.to_parquet(str(file))


def write_numbers(folder: Path, **sizes: int) -> dict[str, np.ndarray]:
    """Images of random pixels and labels, so many of each split; returns their pixels."""
    arrays = {split: pixels(number, 4, 4, 3) for split, number in sizes.items()}
    for split, images in arrays.items():
        labels = [number % 3 for number in range(len(images))]
        write_parquet(folder / f"{split}.parquet", [encoded(image) for image in images], labels)
    return {split: images.transpose(0, 3, 1, 2) for split, images in arrays.items()}


def tell_lengths(folder: Path, **sizes: int) -> None:
    """A card that tells how many rows each split has, and in which files they lie."""
    files = [f"  - split: {name}\n    path: {name}.parquet" for name in sizes]
    rows = [
        f"  - name: {name}\n    num_bytes: 9\n    num_examples: {number}"
        for name, number in sizes.items()
    ]
    lines = ["---", "configs:", "- config_name: default", "  data_files:", *files]
    lines += ["dataset_info:", "  config_name: default", "  splits:", *rows, "---", ""]
    (folder / "README.md").write_text("\n".join(lines))


def make(path: Path, **options: Any) -> HuggingFaceDataModule:
    options = {"size": 4, "global_batch_size": 4, **options}
    return HuggingFaceDataModule(str(path), **options)


def open_and_read(path: Path, **options: Any) -> None:
    """What happens before training: a data module is made, asked for its shapes and read."""
    data = make(path, **options)
    _ = data.spec
    data.setup("fit")


def images(data: HuggingFaceDataModule, split: str) -> np.ndarray:
    """All images of a split: (N, C, H, W)."""
    samples = data.dataset(split)
    return samples.__getitems__(range(len(samples)))["image"].numpy()


def on_rank(data: HuggingFaceDataModule, rank: int, ranks: int, epoch: int, done: int = 0) -> list:
    """The batches of a rank in an epoch of training, from one that has been interrupted."""
    progress = SimpleNamespace(current=SimpleNamespace(ready=done))
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    data.trainer = SimpleNamespace(world_size=ranks, global_rank=rank, fit_loop=loop)
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_parquet_files_become_batches_of_their_pixels(tmp_path, num_workers) -> None:
    arrays = write_numbers(tmp_path / "set", train=12, test=5)
    data = make(tmp_path / "set", label_column="label", num_workers=num_workers)
    data.prepare_data()
    data.setup("fit")
    assert data.spec.image_shape == (3, 4, 4)
    assert data.spec.num_classes == 3
    assert data.spec.num_bins == 256
    batch = next(iter(data.test_dataloader()))
    np.testing.assert_array_equal(batch["image"], arrays["test"][:4])
    assert batch["image"].dtype == torch.uint8
    assert batch["label"].tolist() == [0, 1, 2, 0]
    assert batch["index"].tolist() == [0, 1, 2, 3]
    held = np.concatenate([images(data, "train"), images(data, "val")])
    assert len(images(data, "val")) == 1
    assert {each.tobytes() for each in held} == {each.tobytes() for each in arrays["train"]}


def test_images_stay_on_the_disk_and_workers_map_them_themselves(tmp_path) -> None:
    write_numbers(tmp_path / "set", train=400, test=1)
    data = make(tmp_path / "set")
    data.trainer = SimpleNamespace(world_size=1, global_rank=0, loop=(n for n in range(3)))
    samples = data.dataset("train")
    sent = pickle.dumps(samples)
    assert len(sent) < 8 * 360 + 4000  # the numbers of the rows
    assert torch.equal(pickle.loads(sent)[5]["image"], samples[5]["image"])


def test_a_folder_of_images_has_its_classes(tmp_path) -> None:
    for split, number in (("train", 6), ("test", 2)):
        for name in CLASSES:
            for row in range(number):
                array = pixels(4, 4, 3)
                write_twin(tmp_path / "set" / split / name / f"{row}.png", array)
    data = make(tmp_path / "set", label_column="label")
    assert data.classes == CLASSES
    assert [len(data.dataset(split)) for split in SPLITS] == [16, 2, 6]
    last = data.dataset("test")[5]
    assert last["label"] == 2
    np.testing.assert_array_equal(last["image"].permute(1, 2, 0), array)


def test_rows_are_marked_by_names_sizes_and_labels_without_being_decoded(tmp_path) -> None:
    write_numbers(tmp_path / "set", train=20, test=5)

    def marks(folder: str = "set", **options: Any) -> list[str | None]:
        made = make(tmp_path / folder, label_column="label", **options)
        return [made.mark(split) for split in SPLITS]

    before = marks()
    assert len(set(before)) == 3
    (tmp_path / "set").rename(tmp_path / "moved")
    assert marks("moved", check_images=1) == before
    write_numbers(tmp_path / "moved", train=20)
    now = marks("moved")
    assert [each == old for each, old in zip(now, before, strict=True)] == [False, False, True]


def test_files_of_a_folder_are_marked_by_their_sizes(tmp_path) -> None:
    for split, number in (("train", 12), ("test", 2)):
        for row in range(number):
            write_twin(tmp_path / "set" / split / f"{row:02d}.png", pixels(4, 4, 3))
    before = [make(tmp_path / "set").mark(split) for split in SPLITS]
    write_twin(tmp_path / "set" / "test" / "01.png", pixels(9, 9, 3))
    now = [make(tmp_path / "set").mark(split) for split in SPLITS]
    assert [each == old for each, old in zip(now, before, strict=True)] == [True, True, False]


def test_a_stream_has_no_mark(tmp_path) -> None:
    write_numbers(tmp_path / "set", train=12, test=2)
    tell_lengths(tmp_path / "set", train=12, test=2)
    assert make(tmp_path / "set", streaming=True, cache_dir=str(tmp_path)).mark("train") is None


def test_one_file_and_what_save_to_disk_wrote(tmp_path) -> None:
    arrays = write_numbers(tmp_path, train=20)
    one = make(tmp_path / "train.parquet", splits={"train": "train"})
    assert [len(one.dataset(split)) for split in SPLITS] == [16, 2, 2]
    found = np.concatenate([images(one, split) for split in SPLITS])
    assert {i.tobytes() for i in found} == {i.tobytes() for i in arrays["train"]}
    table = datasets.load_dataset("parquet", data_files=str(tmp_path / "train.parquet"))
    table["train"].save_to_disk(str(tmp_path / "alone"))
    table.save_to_disk(str(tmp_path / "all"))
    for name in ("alone", "all"):
        saved = make(tmp_path / name, splits={"train": "train"})
        np.testing.assert_array_equal(images(saved, "test"), images(one, "test"))
    with pytest.raises(AttnFlowError, match=r"data.streaming: expected false for .*all, a folder"):
        make(tmp_path / "all", streaming=True).setup()


def test_columns_of_mere_bytes_are_images(tmp_path) -> None:
    arrays = pixels(20, 4, 4, 3)
    raw = [encoded(array) for array in arrays]
    for name, cells in (("bytes", raw), ("struct", [{"bytes": b, "path": "a.png"} for b in raw])):
        (tmp_path / name).mkdir()
        table = datasets.Dataset.from_dict({"picture": cells})
        table.to_parquet(str(tmp_path / name / "train.parquet"))
        data = make(tmp_path / name, splits={"train": "train"}, image_column="picture")
        found = np.concatenate([images(data, split) for split in SPLITS]).transpose(0, 2, 3, 1)
        assert {each.tobytes() for each in found} == {each.tobytes() for each in arrays}


def test_images_are_decoded_as_any_file(tmp_path) -> None:
    """Turned, laid over the background, scaled, of few bits and of one channel."""
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = pixels(8, 4)
    clear = np.dstack([pixels(4, 4, 3), np.zeros((4, 4), np.uint8)])
    files = [encoded(lying, exif=exif), encoded(clear)]
    write_parquet(tmp_path / "set" / "test.parquet", files)
    options = {"channels": 1, "convert": True, "num_bits": 3, "background": 64}
    data = make(tmp_path / "set", splits={"test": "test"}, **options)
    upright, plain = images(data, "test")
    np.testing.assert_array_equal(upright[0], np.rot90(lying, -1)[:, 2:6] >> 5)
    assert np.unique(plain).tolist() == [64 >> 5]
    assert data.spec.num_bins == 8


def test_the_first_images_size_is_that_of_all(tmp_path) -> None:
    sizes = [(6, 10), (6, 10), (6, 12)]
    write_parquet(tmp_path / "set" / "test.parquet", [encoded(pixels(*s, 3)) for s in sizes])
    data = make(tmp_path / "set", splits={"test": "test"}, size=None)
    assert data.spec.image_shape == (3, 6, 10)
    with pytest.raises(AttnFlowError, match=r"row 2 of test of .*set: expected size \(6, 10\)"):
        data.setup("test")


def frames() -> bytes:
    """A GIF of two frames."""
    content = io.BytesIO()
    first, second = (Image.fromarray(pixels(4, 4)) for _ in range(2))
    first.save(content, "GIF", save_all=True, append_images=[second])
    return content.getvalue()


BAD = {
    "16 bits": (lambda: encoded(np.full((4, 4), 999, np.uint16)), "expected 8 bits .*, got 16"),
    "frames": (frames, "expected one image, got 2 frames"),
    "grey": (lambda: encoded(pixels(4, 4)), "expected a colour image, .*, got a grey one"),
    "a line": (lambda: encoded(pixels(5000, 1, 3)), "expected an image whose form is nearer"),
    "cut": (lambda: encoded(pixels(40, 40, 3))[:-900], "expected a readable image, got .*damaged"),
    "no image": (lambda: b"text", "expected a readable image, got .*of no format"),
    "empty": (lambda: None, "expected an image, got an empty cell"),
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_stops_a_run_at_its_start(tmp_path, kind, streaming) -> None:
    content, message = BAD[kind]
    files = [encoded(pixels(4, 4, 3)) for _ in range(12)]
    files[7] = content()
    write_parquet(tmp_path / "set" / "train.parquet", files)
    tell_lengths(tmp_path / "set", train=12)
    data = make(tmp_path / "set", splits={"train": "train"}, streaming=streaming)
    with pytest.raises(AttnFlowError, match=rf"^row 7 of train of .*set: {message}"):
        data.setup("fit")


@pytest.mark.parametrize("streaming", [False, True])
def test_damaged_images_are_left_out_where_that_is_asked_for(tmp_path, streaming, caplog) -> None:
    arrays = pixels(12, 4, 4, 3)
    files = [encoded(array) for array in arrays]
    files[3] = files[3][:-30]
    write_parquet(tmp_path / "set" / "test.parquet", files)
    tell_lengths(tmp_path / "set", test=12)
    options = {"splits": {"test": "test"}, "streaming": streaming, "skip_corrupt": True}
    data = make(tmp_path / "set", **options)
    found = images(data, "test").transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(found, np.delete(arrays, 3, 0))
    assert "skipped: row 3 of test" in caplog.text
    trainer = SimpleNamespace(world_size=1, limit_val_batches=1.0, limit_test_batches=1.0)
    assert image_counts(data, trainer) == {"data/test_images": 11, "data/test_left_out": 1}
    write_parquet(tmp_path / "bad" / "test.parquet", [b"nothing", b"of this"])
    tell_lengths(tmp_path / "bad", test=2)
    with pytest.raises(AttnFlowError, match="expected one readable image or more, got 2, all"):
        make(tmp_path / "bad", **options).setup("test")


def test_of_many_images_a_few_are_tried(tmp_path) -> None:
    files = [encoded(pixels(4, 4, 3)) for _ in range(11)]
    files[7] = b"nothing"
    write_parquet(tmp_path / "set" / "test.parquet", files)
    few = make(tmp_path / "set", splits={"test": "test"}, check_images=3)
    few.setup("test")  # rows 0, 5 and 10
    with pytest.raises(AttnFlowError, match=r"^row 7 of test .*: expected a readable image"):
        list(few.test_dataloader())
    with pytest.raises(AttnFlowError, match="row 7"):
        make(tmp_path / "set", splits={"test": "test"}, check_images=99).setup("test")
    with pytest.raises(AttnFlowError, match="check_images: expected null where skip_corrupt is"):
        make(tmp_path / "set", check_images=3, skip_corrupt=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_column": "img"}, "data.image_column: expected one of image, label, .*got 'img'"),
        ({"image_column": "label"}, r"expected a column of images \(image\), got 'label'"),
        ({"label_column": "class"}, "data.label_column: expected one of image, label.*'class'"),
        ({"label_column": "image"}, "expected a column of classes or of whole numbers, got 'ima"),
        ({"label_column": "label", "classes": ["a", "b", "c"]}, "data.classes: expected .'ant'"),
        ({"label_column": "label", "num_classes": 4}, "data.num_classes: expected 3, .*, got 4"),
        ({"splits": {"train": "training"}}, "data.splits.train: expected one of train, test.*'tra"),
        ({"splits": {"train": "train", "val": "v"}}, "data.splits.val: .*null to cut it.*got 'v'"),
        ({"splits": {"test": "test"}}, "data.splits.train: expected a split .* got null"),
        ({"streaming": True}, "data.streaming: expected a data set that tells how many rows"),
        ({"name": "other"}, "data.path: expected .*, other: ValueError: BuilderConfig 'other' not"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, options, message) -> None:
    write_numbers(tmp_path / "set", train=12, test=2)
    with pytest.raises(AttnFlowError, match=message) as caught:
        open_and_read(tmp_path / "set", **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"splits": ["train"]}, "data.splits: expected a name or null for each of train, val, te"),
        ({"splits": {"dev": "dev"}}, "data.splits: expected a name or null .*'dev'"),
        ({"splits": {"train": "a", "val": "a"}}, "expected a split for each, got 'a' twice"),
        ({"splits": {"train": None}}, "data.splits: expected the name of one split or more"),
        ({"splits": {"train": 3}}, "data.splits: expected names of splits or null, got 3"),
        ({"streaming": "yes"}, "streaming: expected true or false, got 'yes'"),
        ({"size": 1}, "size: expected a whole number of 2 or more, got 1"),
        ({"channels": 2}, "channels: expected one of 1, 3, got 2"),
        ({"num_bits": 9}, "num_bits: expected a whole number from 1 to 8, got 9"),
        ({"check_images": 0}, "check_images: expected a whole number of 1 or more, got 0"),
        ({"label_column": 1}, "label_column: expected text or null, got 1"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path, option, message) -> None:
    with pytest.raises(AttnFlowError, match=message):
        make(tmp_path, **option)


@pytest.mark.parametrize(
    ("labels", "kind", "message"),
    [
        (["a"] * 12, "string", "expected a column of classes or of whole numbers, .*'string'"),
        ([0.5] * 12, "float32", "expected a column of classes or of whole numbers"),
        ([True] * 12, "bool", "expected a column of classes or of whole numbers"),
        ([*range(11), -1], "int64", "expected labels from 0 to 10 .*, got -1 to 10"),
        ([*range(11), None], "int64", "expected a label in every row .*, got rows without one"),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path, labels, kind, message) -> None:
    files = [encoded(pixels(4, 4, 3)) for _ in range(12)]
    write_parquet(tmp_path / "set" / "train.parquet", files, labels, datasets.Value(kind))
    data = make(tmp_path / "set", splits={"train": "train"}, label_column="label")
    with pytest.raises(AttnFlowError, match=f"data.label_column: {message}"):
        data.setup("fit")


def test_whole_numbers_are_counted_and_kept_for_other_images(tmp_path) -> None:
    files = [encoded(pixels(4, 4, 3)) for _ in range(12)]
    for name, most in (("set", 5), ("other", 6)):
        labels = [number % (most + 1) for number in range(12)]
        write_parquet(tmp_path / name / "test.parquet", files, labels, datasets.Value("uint8"))
    options = {"splits": {"test": "test"}, "label_column": "label"}
    data = make(tmp_path / "set", **options)
    assert data.spec.num_classes == 6
    path = str(tmp_path / "set")
    assert data.settled == {"path": path, "num_classes": 6, "classes": None}
    other = make(tmp_path / "other", num_classes=6, **options)
    with pytest.raises(AttnFlowError, match=r"expected labels from 0 to 5 .*, got 0 to 6"):
        other.setup("test")


def test_an_empty_split_is_refused(tmp_path) -> None:
    write_numbers(tmp_path / "set", train=12)
    write_parquet(tmp_path / "set" / "test.parquet", [])
    with pytest.raises(AttnFlowError, match=r"test of .*set: expected a row or more, got none"):
        make(tmp_path / "set").setup("fit")
    write_numbers(tmp_path / "few", train=9)
    with pytest.raises(AttnFlowError, match="expected 10 rows or more to cut val and test from"):
        make(tmp_path / "few", splits={"train": "train"}).setup("fit")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "user/name",
            "data.path: expected a data set that the library datasets.*user/name",
        ),
        ("parquet", "data.path: expected a folder, .*, got 'parquet', which does not exist"),
        ("/nowhere/at/all", "expected a folder, .*, got '/nowhere/at/all', which does not exist"),
    ],
)
def test_without_a_network_a_name_is_refused_in_a_sentence(path, message) -> None:
    with pytest.raises(AttnFlowError, match=message) as caught:
        HuggingFaceDataModule(path).setup("fit")
    assert "\n" not in str(caught.value)


def test_a_folder_with_a_script_or_without_images_is_refused(tmp_path) -> None:
    (tmp_path / "set").mkdir()
    ran = tmp_path / "ran"
    (tmp_path / "set" / "set.py").write_text(f"open({str(ran)!r}, 'w')\n")
    with pytest.raises(AttnFlowError, match=r"data.path: expected a data set that the library"):
        make(tmp_path / "set").setup("fit")
    assert not ran.exists()


def test_a_missing_package_is_named_with_its_remedy(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(AttnFlowError, match=r"package datasets, .*pip install 'attnflow\[hugging"):
        make(tmp_path).setup("fit")


def test_the_cut_is_the_same_whatever_the_seed(tmp_path) -> None:
    write_numbers(tmp_path / "set", train=40, test=4)
    first, other = make(tmp_path / "set", seed=1), make(tmp_path / "set", seed=2)
    for split in SPLITS:
        np.testing.assert_array_equal(images(first, split), images(other, split))


@pytest.mark.parametrize("streaming", [False, True])
def test_changed_files_are_read_anew(tmp_path, streaming) -> None:
    cache = str(tmp_path / "set" / "cache")  # which is no data
    options = {"splits": {"test": "test"}, "streaming": streaming, "cache_dir": cache}
    for number in (3, 3, 4):
        arrays = write_numbers(tmp_path / "set", test=number)
        tell_lengths(tmp_path / "set", test=number)
        data = make(tmp_path / "set", **options)
        np.testing.assert_array_equal(images(data, "test"), arrays["test"])
    images(make(tmp_path / "set", **options), "test")
    assert len(list((tmp_path / "set" / "cache").glob("local_*"))) == 3


@pytest.mark.parametrize("augment", [(), (v2.RandomHorizontalFlip(),)])
@pytest.mark.parametrize("streaming", [False, True])
def test_ranks_share_an_epoch_without_repeating(tmp_path, streaming, augment) -> None:
    """And an interrupted one goes on where it stopped, bit for bit, with any number of ranks."""
    write_numbers(tmp_path / "set", train=30, val=3, test=2)
    tell_lengths(tmp_path / "set", train=30, val=3, test=2)
    splits = {split: split for split in SPLITS}
    data = make(tmp_path / "set", splits=splits, streaming=streaming, augment=augment)
    alone = on_rank(data, 0, 1, epoch=3)
    both = [on_rank(data, rank, 2, epoch=3) for rank in (0, 1)]
    numbers = [torch.cat([batch["index"] for batch in share]).tolist() for share in both]
    assert [len(share) for share in numbers] == [14, 14]
    assert len({*numbers[0], *numbers[1]}) == 28
    for whole, first, second in zip(alone, *both, strict=True):
        assert torch.equal(whole["image"][::2], first["image"])
        assert torch.equal(whole["image"][1::2], second["image"])
    resumed = on_rank(data, 1, 2, epoch=3, done=2)
    assert len(resumed) == 5
    for found, expected in zip(resumed, both[1][2:], strict=True):
        assert torch.equal(found["image"], expected["image"])
    assert not torch.equal(on_rank(data, 0, 1, epoch=4)[0]["index"], alone[0]["index"])


def test_a_stream_is_read_once_into_mapped_files(tmp_path, monkeypatch) -> None:
    arrays = write_numbers(tmp_path / "set", train=20, test=3)
    tell_lengths(tmp_path / "set", train=20, test=3)
    mapped, streamed = (
        make(tmp_path / "set", streaming=streaming, label_column="label", num_bits=5)
        for streaming in (False, True)
    )
    streamed.prepare_data()
    for split in SPLITS:
        one, other = mapped.dataset(split), streamed.dataset(split)
        numbers = range(len(one))
        for name, values in one.__getitems__(numbers).items():
            assert torch.equal(values, other.__getitems__(numbers)[name]), name
    np.testing.assert_array_equal(images(streamed, "test"), arrays["test"] >> 3)
    monkeypatch.setattr("attnflow.data.kept_stream.KeptStream.make", None)
    again = make(tmp_path / "set", streaming=True, label_column="label", num_bits=8)
    np.testing.assert_array_equal(images(again, "test"), arrays["test"])


def test_a_stream_of_files_reads_them_where_they_lie(tmp_path) -> None:
    for row in range(4):
        array = pixels(6, 10, 3)
        write_twin(tmp_path / "set" / "test" / CLASSES[row // 2] / f"{row}.png", array)
    (tmp_path / "set" / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: test\n    path: test/**\n"
        "dataset_info:\n  config_name: default\n  splits:\n  - name: test\n    num_bytes: 9\n"
        "    num_examples: 4\n---\n"
    )
    options = {"splits": {"test": "test"}, "label_column": "label", "size": None}
    data = make(tmp_path / "set", streaming=True, **options)
    assert data.spec.image_shape == (3, 6, 10)
    assert data.classes == CLASSES[:2]
    samples = data.dataset("test")
    assert [int(samples[row]["label"]) for row in range(4)] == [0, 0, 1, 1]
    np.testing.assert_array_equal(samples[3]["image"].permute(1, 2, 0), array)


@pytest.mark.parametrize(("told", "got"), [(11, "more"), (13, "12")])
def test_a_stream_of_another_length_is_refused(tmp_path, told, got) -> None:
    write_numbers(tmp_path / "set", train=12)
    tell_lengths(tmp_path / "set", train=told)
    data = make(tmp_path / "set", splits={"train": "train"}, streaming=True)
    with pytest.raises(AttnFlowError, match=f"expected {told} rows, .*, got {got}"):
        data.prepare_data()
    assert list((tmp_path / "library" / "attnflow").iterdir()) == []


def test_a_conditional_flow_trains_and_its_classes_stay(
    tmp_path, train: Callable, command: Callable
) -> None:
    write_numbers(tmp_path / "set", train=24, test=4)
    options = ["data=huggingface", f"data.path={tmp_path / 'set'}", "data.size=4"]
    options += ["data.label_column=label", "data.global_batch_size=4", "model.levels=1"]
    run_dir = train(
        *options, "conditioning=class", "trainer.max_epochs=1", "trainer.limit_train_batches=2"
    )
    figures = results(run_dir)
    assert figures["data/train_images"] == 22
    assert figures["data/val_images"] == 2
    assert np.isfinite(figures["test/bpd"])
    checkpoint = next((run_dir / "checkpoints").glob("*.ckpt"))
    held = torch.load(checkpoint, weights_only=True)
    assert "ant" in json.dumps(held, default=str)
    others = [f"+data.path={tmp_path / 'set'}", "eval.pictures=[]", "trainer=cpu"]
    evaluated = results(command("eval", f"ckpt_path={checkpoint}", *others))
    assert evaluated["test/bpd"] == pytest.approx(figures["test/bpd"], rel=1e-5)
