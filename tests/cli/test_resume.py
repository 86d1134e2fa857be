"""Interrupted and resumed training ends where uninterrupted training ends."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from conftest import SHORT, results, run_script
from runs import OPEN_ENDED, assert_same_training, last


def metrics(run_dir: Path) -> list[dict[str, str]]:
    """The rows of a run's metrics.csv, without empty cells."""
    with (run_dir / "csv" / "version_0" / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The same training of four epochs and of two; tests go on with copies."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        for epochs in (4, 2):
            options = [f"trainer.max_epochs={epochs}", f"hydra.run.dir={folder / str(epochs)}"]
            run_script(patch, "train", *SHORT, *OPEN_ENDED, *options)
    return {epochs: folder / str(epochs) for epochs in (4, 2)}


@pytest.mark.parametrize("how", ["path", "auto", "directory"])
def test_resumed_training_is_uninterrupted_training(train, kept, tmp_path, how) -> None:
    whole, part = kept[4], Path(shutil.copytree(kept[2], tmp_path / "part"))
    first_metrics = metrics(part)
    resume = {
        "path": part / "checkpoints" / "last.ckpt",
        "directory": part,
        "auto": "auto",
    }[how]
    run_dir = part if how == "auto" else None
    resumed = train(*OPEN_ENDED, "trainer.max_epochs=4", f"resume={resume}", run_dir=run_dir)
    a, b = last(whole), last(resumed)
    assert_same_training(a, b)
    assert (a["epoch"], a["global_step"]) == (b["epoch"], b["global_step"]) == (3, 12)
    assert results(whole)["steps"] == results(resumed)["steps"] == 12
    # One history: what the first part logged while it trained, then what the second one did.
    trained = [row for row in first_metrics if not row.get("test/bpd")]
    history = metrics(resumed)
    assert history[: len(trained)] == trained
    assert [row["step"] for row in history] == [row["step"] for row in metrics(whole)]
    assert [p.name for p in (resumed / "csv").iterdir()] == ["version_0"]


def test_auto_starts_afresh_where_there_is_nothing(train) -> None:
    assert results(train("resume=auto"))["steps"] == 6
