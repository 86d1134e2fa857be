"""Logs, records and caches on a disk that fails: told, and never at the cost of the numbers."""

from __future__ import annotations

import errno
import logging
import os

import numpy as np
import pytest
from conftest import SHORT, results
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from storage import FailingDisk, small_files_only

from attnflow.data.imagenet import DownsampledImageNetDataModule
from attnflow.loggers.csv_history import ContinuedWriter
from attnflow.loggers.tracking import sheltered
from attnflow.runs.results import print_table, read_curve
from attnflow.utils.files import WriteError


class Refusing(CSVLogger):
    """Its folder is not to be written to."""

    def log_metrics(self, metrics: dict, step: int | None = None) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "metrics.csv")


class Broken(CSVLogger):
    def log_metrics(self, metrics: dict, step: int | None = None) -> None:
        raise KeyError("no storage's fault")


def test_a_logger_that_cannot_write_is_told_of_once(tmp_path, caplog) -> None:
    logger = sheltered(Refusing(tmp_path))
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            logger.log_metrics({"val/bpd": 1.0}, step)
    assert caplog.text.count("Refusing could not write: [Errno 13] Permission denied") == 1
    with pytest.raises(KeyError):
        sheltered(Broken(tmp_path)).log_metrics({})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_tensorboard_on_a_full_disk_ends_nothing(tmp_path, caplog) -> None:
    logger = sheltered(TensorBoardLogger(tmp_path, name="tensorboard"))
    with small_files_only(3000), caplog.at_level(logging.WARNING):
        for step in range(300):
            logger.log_metrics({"val/bpd": 1.0}, step)
        logger.save()
        logger.finalize("success")
    assert caplog.text.count("could not write: [Errno 27] File too large") == 1


def test_rows_that_did_not_fit_wait_and_leave_no_half(tmp_path) -> None:
    writer = ContinuedWriter(str(tmp_path))
    writer.log_metrics({"val/bpd": 4.0}, 1)
    writer.save()
    whole = (tmp_path / "metrics.csv").read_bytes()
    for step in range(2, 100):
        writer.log_metrics({"val/bpd": 3.0}, step)
    with small_files_only(200), pytest.raises(OSError, match="File too large"):
        writer.save()
    assert (tmp_path / "metrics.csv").read_bytes() == whole
    writer.save()
    steps, values = read_curve(tmp_path, "val/bpd")
    assert steps == list(range(1, 100))
    assert values == [4.0] + [3.0] * 98


def test_a_new_column_on_a_full_disk_costs_no_row(tmp_path, monkeypatch) -> None:
    writer = ContinuedWriter(str(tmp_path))
    writer.log_metrics({"val/bpd": 4.0}, 1)
    writer.save()
    writer.log_metrics({"val/fid": 9.0}, 2)
    disk = FailingDisk(monkeypatch)
    disk.fails["metrics.csv"] = errno.ENOSPC
    with pytest.raises(WriteError, match="No space left"):
        writer.save()
    assert read_curve(tmp_path, "val/bpd") == ([1], [4.0])
    del disk.fails["metrics.csv"]
    writer.log_metrics({"val/bpd": 3.0}, 3)
    writer.save()
    writer.log_metrics({"test/bpd": 2.0}, 4)
    writer.save()
    assert read_curve(tmp_path, "val/bpd") == ([1, 3], [4.0, 3.0])
    assert read_curve(tmp_path, "val/fid") == ([2], [9.0])
    assert read_curve(tmp_path, "test/bpd") == ([4], [2.0])


def test_a_row_of_another_length_ends_no_training(tmp_path) -> None:
    (tmp_path / "metrics.csv").write_text("step,val/bpd\n1,4.0\n2,,9.0\n")
    writer = ContinuedWriter(str(tmp_path))
    writer.log_metrics({"val/fid": 9.0}, 3)
    writer.save()
    assert read_curve(tmp_path, "val/bpd") == ([1], [4.0])
    assert read_curve(tmp_path, "val/fid") == ([3], [9.0])


def test_a_table_that_cannot_be_printed_is_left_out(monkeypatch, caplog) -> None:
    with open("/dev/full", "w") as full, monkeypatch.context() as patch:
        patch.setattr("sys.stdout", full)
        with caplog.at_level(logging.WARNING):
            print_table({f"test/{n}": 1.0 for n in range(300)})
    assert "the table of figures is left out: OSError" in caplog.text


def test_a_training_without_its_logs_and_records(train, monkeypatch, capfd) -> None:
    FailingDisk(monkeypatch).fails["environment.json"] = errno.EIO
    monkeypatch.setattr(CSVLogger, "log_metrics", Refusing.log_metrics)
    run_dir = train("trainer.max_epochs=1")
    assert results(run_dir)["steps"] == 3
    told = (run_dir / "train.log").read_text()
    assert "environment.json is left out: " in told
    assert told.count("could not write: [Errno 13]") == 1
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
def test_a_sweep_whose_failed_job_cannot_be_noted_ends(command, tmp_path, monkeypatch) -> None:
    FailingDisk(monkeypatch).fails["error.txt"] = errno.ENOSPC
    with pytest.raises(SystemExit, match=r"error: .*/error.txt could not be written: No space"):
        command("train", "-m", *SHORT, "model.levels=9,1")


class Odd(Callback):
    """A third party's, whose state no checkpoint could be read back with."""

    def state_dict(self) -> dict:
        return {"seen": np.zeros(3)}


def test_a_state_that_no_checkpoint_can_hold_is_refused_before_the_first_step(
    train, tmp_path
) -> None:
    odd = "+callbacks.odd={_target_: test_failing_storage.Odd}"
    run_dir = tmp_path / "odd"
    with pytest.raises(SystemExit, match=r"the state of Odd\['seen'\]: expected plain values"):
        train(odd, run_dir=run_dir)
    assert not (run_dir / "checkpoints").exists()


def test_images_that_do_not_fit_are_told_before_the_disk_is_full(tmp_path, monkeypatch) -> None:
    batch = np.zeros((20, 3, 32, 32), np.uint8), np.zeros(20, np.int64)
    monkeypatch.setattr("attnflow.data.imagenet.read_batch", lambda file, size: batch)
    data = DownsampledImageNetDataModule(tmp_path)
    with small_files_only(30_000), pytest.raises(WriteError, match=r"images.tmp.* File too large"):
        data._convert("test", [tmp_path / "val_data"])
    assert not list(tmp_path.iterdir())
