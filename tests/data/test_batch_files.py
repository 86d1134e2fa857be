"""Files of a stranger: arrays are read, code is not run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from official_files import pixels, write_cifar10, write_imagenet32, write_pickle

from attnflow import AttnFlowError
from attnflow.data import CIFAR10DataModule, DownsampledImageNetDataModule
from attnflow.data.batch_files import read_arrays


class Calls:
    """Is pickled as the call of a function with arguments."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def forbidden(mark: Path) -> dict[str, object]:
    """Contents that would write ``mark``, or reach a function, if they were unpickled."""
    write = f"open({str(mark)!r}, 'w').close()"
    return {
        "os.system": Calls(os.system, f"touch {mark}"),
        "eval": Calls(eval, write),
        "exec in a list": [1, {"data": (Calls(exec, write),)}],
        "a method": Calls(Path.touch, mark),
        "getattr": Calls(getattr, Path, "touch"),
        "numpy's loader": Calls(np.load, str(mark)),
        "an array of objects": np.array([Calls(exec, write)], dtype=object),
        "an array with fields": np.zeros(2, dtype=[("a", "O"), ("b", "u1")]),
        "a class": torch.nn.Linear,
    }


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", forbidden(Path("mark")))
def test_code_in_a_batch_file_is_refused_and_not_run(tmp_path, name, protocol) -> None:
    """Case E5."""
    mark = tmp_path / "mark"
    write_imagenet32(tmp_path)
    content = {"data": pixels(6, 3072), "labels": [1] * 6, "mean": forbidden(mark)[name]}
    (tmp_path / "val_data").write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(AttnFlowError, match=r"val_data: expected .* cannot be read") as raised:
        DownsampledImageNetDataModule(str(tmp_path)).prepare_data()
    assert "\n" not in str(raised.value)
    assert not mark.exists()


def test_the_refusal_names_the_function(tmp_path) -> None:
    (tmp_path / "file").write_bytes(pickle.dumps(Calls(os.system, "true")))
    message = r"it names (posix|nt)\.system, but may hold arrays of numbers alone"
    with pytest.raises(pickle.UnpicklingError, match=message):
        read_arrays(tmp_path / "file")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_are_read_whatever_pickled_them(tmp_path, protocol) -> None:
    data = pixels(6, 3072)
    labels = [np.int64(3), 4, np.uint8(5), True, 2.0, np.float32(1)]
    content = {"data": data, "labels": labels, "mean": data.mean(0), "name": ("x", b"\xff", None)}
    # Older and newer numpy call the module of its functions by other names.
    for theirs in (b"numpy.core", b"numpy._core"):
        pickled = pickle.dumps(content, protocol)
        if protocol < 4:  # later ones hold the names' lengths
            pickled = pickled.replace(b"numpy._core", theirs).replace(b"numpy.core", theirs)
        (tmp_path / "file").write_bytes(pickled)
        read = read_arrays(tmp_path / "file")
        np.testing.assert_array_equal(read["data"], data)
        np.testing.assert_array_equal(read["mean"], content["mean"])
        assert read["labels"] == labels
        assert read["name"] == content["name"]


def test_a_pickle_of_python_2_is_read(tmp_path) -> None:
    """Its text and the bytes of its arrays are of one type."""
    (tmp_path / "file").write_bytes(
        b"\x80\x02}q\x00U\x04dataq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\n"
        b"q\x03K\x00\x85U\x01b\x87Rq\x04(K\x01K\x03\x85cnumpy\ndtype\nq\x05U\x02u1K\x00K\x01\x87R"
        b"q\x06(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x03\x01\xfe\xfftbs."
    )
    assert read_arrays(tmp_path / "file")["data"].tolist() == [1, 254, 255]


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_objects_in_an_npy_file_are_not_read(tmp_path, kind) -> None:
    write_imagenet32(tmp_path)
    DownsampledImageNetDataModule(str(tmp_path)).prepare_data()
    mark = tmp_path / "mark"
    objects = np.array([Calls(os.system, f"touch {mark}")] * 6, dtype=object)
    file = tmp_path / f"test_32_{kind}.npy"
    for content in (objects, np.zeros((5, 2)), np.zeros(())):
        np.save(file, content, allow_pickle=True)
        with pytest.raises(AttnFlowError, match=f"{file.name}: expected .* both are made anew"):
            DownsampledImageNetDataModule(str(tmp_path)).dataset("test")
    file.write_bytes(pickle.dumps(objects))
    with pytest.raises(
        AttnFlowError, match=f"{file.name}: expected an array .* got what cannot be read"
    ):
        DownsampledImageNetDataModule(str(tmp_path)).dataset("test")
    assert not mark.exists()


def test_grey_values_that_do_not_fit_are_refused_and_not_cut(tmp_path) -> None:
    write_imagenet32(tmp_path)
    for data in (np.full((6, 3072), 256), np.full((6, 3072), -1), np.full((6, 3072), 0.5)):
        write_pickle(tmp_path / "val_data", {"data": data, "labels": [1] * 6})
        with pytest.raises(AttnFlowError, match="grey values from 0 to 255"):
            DownsampledImageNetDataModule(str(tmp_path)).prepare_data()


def test_imagenet_test_images_alone_can_be_tested_on(tmp_path) -> None:
    test = write_imagenet32(tmp_path)
    for file in tmp_path.glob("train_data_batch_*"):
        file.unlink()
    data = DownsampledImageNetDataModule(str(tmp_path))
    data.prepare_data()
    images = data.dataset("test").__getitems__(range(6))["image"]
    np.testing.assert_array_equal(images.flatten(1), test)
    with pytest.raises(AttnFlowError, match=r"got no train_data_batch_1, .*train_data_batch_10\."):
        data.dataset("train")


def test_cifar_files_are_not_unpickled_unless_their_checksums_are_the_official_ones(
    tmp_path,
) -> None:
    """torchvision unpickles them by itself, but looks at their MD5 sums first."""
    write_cifar10(tmp_path)
    mark = tmp_path / "mark"
    for file in (tmp_path / "cifar-10-batches-py").iterdir():
        file.write_bytes(pickle.dumps(Calls(os.system, f"touch {mark}")))
    data = CIFAR10DataModule(str(tmp_path), download=False)
    with pytest.raises(AttnFlowError, match="holds damaged cifar-10-batches-py/data_batch_1"):
        data.prepare_data()
    with pytest.raises(AttnFlowError, match="holds damaged cifar-10-batches-py/data_batch_1"):
        data.dataset("test")
    assert not mark.exists()
