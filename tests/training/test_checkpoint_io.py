"""Checkpoints: whole, of plain values, and true of the files that are there."""

from __future__ import annotations

import errno
import logging
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import results
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import OmegaConf
from runs import OPEN_ENDED, last
from storage import FailingDisk, small_files_only

from attnflow.errors import AttnFlowError
from attnflow.training.checkpoint_io import SafeCheckpointIO, settle
from attnflow.training.module import FlowModule


def read(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def test_a_checkpoint_of_configs_and_numbers_of_numpy_can_be_read_back(tmp_path) -> None:
    """As the optimizer's state is, where an option is a list of a config."""
    groups = [{"betas": OmegaConf.create([0.9, 0.99]), "lr": np.float64(0.1)}]
    state = {"optimizer_states": [{"state": {}, "param_groups": groups}], "from": Path("a/b.ckpt")}
    path = tmp_path / "last.ckpt"
    SafeCheckpointIO().save_checkpoint(state, path)
    plain_groups = [{"betas": [0.9, 0.99], "lr": 0.1}]
    assert read(path) == {
        "optimizer_states": [{"state": {}, "param_groups": plain_groups}],
        "from": "a/b.ckpt",
    }


def test_what_could_not_be_read_back_is_not_written(tmp_path) -> None:
    path = tmp_path / "last.ckpt"
    SafeCheckpointIO().save_checkpoint({"global_step": 1}, path)
    with pytest.raises(AttnFlowError, match=r"\['callbacks'\]\['Theirs'\]: expected plain .*range"):
        SafeCheckpointIO().save_checkpoint({"callbacks": {"Theirs": range(3)}}, path)
    assert read(path) == {"global_step": 1}


def test_the_last_checkpoint_but_one_stays_and_a_kills_leavings_go(tmp_path) -> None:
    (tmp_path / "best.ckpt.77.tmp").write_text("half")
    writer = SafeCheckpointIO()
    for step in (1, 2, 3):
        writer.save_checkpoint({"global_step": step}, tmp_path / "last.ckpt")
    names = {path.name: read(path)["global_step"] for path in tmp_path.iterdir()}
    assert names == {"last.ckpt": 3, "last.previous.ckpt": 2}


class Run:
    """A keeper of the best and a writer, without a training around them."""

    def __init__(self, folder: Path, name: str = "best") -> None:
        self.folder, self.name = folder, name
        self.writer = SafeCheckpointIO()
        self.keeper = ModelCheckpoint(
            folder, name, "val/bpd", save_top_k=1, enable_version_counter=False
        )
        strategy = SimpleNamespace(
            checkpoint_io=self.writer,
            broadcast=lambda value: value,
            reduce_boolean_decision=lambda decision, all=True: decision,
            remove_checkpoint=self.writer.remove_checkpoint,
        )
        self.trainer = SimpleNamespace(
            strategy=strategy,
            checkpoint_callbacks=[self.keeper],
            loggers=[],
            is_global_zero=True,
            ckpt_path=None,
            save_checkpoint=lambda path, weights_only=False: self.save(path),
        )

    def save(self, path: str | Path) -> None:
        states = {self.keeper.state_key: self.keeper.state_dict()}
        self.writer.save_checkpoint(
            {"global_step": self.trainer.global_step, "callbacks": states}, path
        )

    def validate(self, step: int, score: float) -> None:
        """Keep the best, then write last.ckpt, as callbacks do after a validation."""
        self.trainer.global_step = step
        candidates = {"val/bpd": torch.tensor(score), "step": torch.tensor(step)}
        self.keeper._save_topk_checkpoint(self.trainer, candidates)
        self.save(self.folder / "last.ckpt")

    def kept(self, path: Path) -> dict:
        """What a checkpoint says of the best."""
        return read(path)["callbacks"][self.keeper.state_key]


def test_no_file_says_that_another_holds_what_it_does_not(tmp_path, monkeypatch) -> None:
    disk, run = FailingDisk(monkeypatch), Run(tmp_path)
    best = tmp_path / "best.ckpt"
    run.validate(1, 3.0)
    disk.fails["best.ckpt"] = errno.ENOSPC
    run.validate(2, 2.0)
    assert read(best)["global_step"] == 1
    told = run.kept(tmp_path / "last.ckpt")
    assert (float(told["best_model_score"]), told["best_model_path"]) == (3.0, str(best))
    assert {path: float(score) for path, score in told["best_k_models"].items()} == {str(best): 3.0}
    assert settle(run.trainer) == (
        f"checkpoint {best} of step 2 could not be written (No space left on device)"
    )
    assert float(run.keeper.best_model_score) == 3.0
    assert float(run.keeper.kth_value) == 3.0


def test_the_best_is_written_when_there_is_room_again(tmp_path, monkeypatch, caplog) -> None:
    disk, run = FailingDisk(monkeypatch), Run(tmp_path)
    best = tmp_path / "best.ckpt"
    disk.fails["best.ckpt"] = errno.EDQUOT
    with caplog.at_level(logging.WARNING):
        for step, score in ((1, 3.0), (2, 2.0), (3, 2.5)):
            run.validate(step, score)
    assert not best.exists()
    assert run.keeper.state_key not in read(tmp_path / "last.ckpt")["callbacks"]
    assert caplog.text.count("could not be written") == 2  # not again for each try
    disk.fails.clear()
    run.validate(4, 2.4)  # no better than the one that waits
    assert (read(best)["global_step"], float(run.kept(best)["best_model_score"])) == (2, 2.0)
    assert float(run.kept(tmp_path / "last.ckpt")["best_model_score"]) == 2.0
    assert settle(run.trainer) is None


def test_the_best_is_written_at_the_end_at_the_latest(tmp_path, monkeypatch) -> None:
    disk, run = FailingDisk(monkeypatch), Run(tmp_path)
    run.validate(1, 3.0)
    disk.fails["*.ckpt"] = errno.EIO
    run.validate(2, 2.0)
    assert read(tmp_path / "last.ckpt")["global_step"] == 1
    disk.fails.clear()
    assert settle(run.trainer) is None
    for name in ("best.ckpt", "last.ckpt"):
        assert read(tmp_path / name)["global_step"] == 2
    assert float(run.keeper.best_model_score) == 2.0


def test_what_a_new_file_should_have_replaced_stays(tmp_path, monkeypatch) -> None:
    """Where every best checkpoint has a name of its own, the old one would be removed."""
    disk, run = FailingDisk(monkeypatch), Run(tmp_path, "{step}")
    run.validate(1, 3.0)
    disk.fails["step=2.ckpt"] = disk.fails["step=3.ckpt"] = errno.ENOSPC
    run.validate(2, 2.0)
    run.validate(3, 1.0)
    first, third = tmp_path / "step=1.ckpt", tmp_path / "step=3.ckpt"
    assert set(tmp_path.glob("step*")) == {first}
    assert run.kept(tmp_path / "last.ckpt")["best_model_path"] == str(first)
    disk.fails.clear()
    assert settle(run.trainer) is None
    assert set(tmp_path.glob("step*")) == {third}
    assert run.keeper.best_model_path == str(third)


def test_where_nothing_was_ever_written_nothing_is_claimed(tmp_path, monkeypatch) -> None:
    run = Run(tmp_path)
    FailingDisk(monkeypatch).fails["*.ckpt"] = errno.EROFS
    run.validate(1, 3.0)
    sentences = settle(run.trainer).split("; ")
    assert [Path(s.split()[1]).name for s in sentences] == ["best.ckpt", "last.ckpt"]
    assert all(
        s.endswith("of step 1 could not be written (Read-only file system)") for s in sentences
    )
    assert (run.keeper.best_model_path, run.keeper.best_model_score) == ("", None)


def test_a_folder_that_is_removed_is_made_again(tmp_path) -> None:
    run = Run(tmp_path / "checkpoints")
    run.validate(1, 3.0)
    shutil.rmtree(tmp_path / "checkpoints")
    run.validate(2, 2.0)
    assert settle(run.trainer) is None
    assert read(tmp_path / "checkpoints" / "best.ckpt")["global_step"] == 2


# Three epochs of two steps, each with a better val/bpd than the one before.
TRAINING = [*OPEN_ENDED, "trainer.max_epochs=3", "trainer.limit_train_batches=2"]


@pytest.fixture
def disk_at_step(monkeypatch) -> dict[int, dict[str, int]]:
    """What fails from a step on: patterns of names with their error numbers."""
    disk, plan = FailingDisk(monkeypatch), {}
    start = FlowModule.on_train_batch_start

    def on_train_batch_start(self: FlowModule, batch: dict, batch_idx: int) -> None:
        disk.fails.update(plan.get(self.global_step, {}))
        start(self, batch, batch_idx)

    monkeypatch.setattr(FlowModule, "on_train_batch_start", on_train_batch_start)
    return plan


def test_results_are_those_of_the_best_file_that_is_there(
    train, tmp_path, capsys, disk_at_step
) -> None:
    whole = train(*TRAINING, "trainer.max_epochs=1")
    disk_at_step[2] = {"best.ckpt": errno.ENOSPC}
    run_dir = tmp_path / "full"
    with pytest.raises(SystemExit) as ended:
        train(*TRAINING, run_dir=run_dir)
    best = run_dir / "checkpoints" / "best.ckpt"
    assert str(ended.value) == (
        f"error: checkpoint {best} of step 6 could not be written (No space left on device); the "
        "figures are those of step 2."
    )
    assert read(best)["global_step"] == 2
    assert last(run_dir)["global_step"] == 6
    for name in ("val/bpd", "test/bpd", "test/step"):
        assert results(run_dir)[name] == results(whole)[name]
    assert f"{results(whole)['test/bpd']:.4g}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("pattern", "written"),
    [("final.png", {"results.json"}), ("results.json", {"final.png"}), ("*.[jp]*", set())],
)
def test_figures_outlive_a_full_disk(
    train, tmp_path, capsys, monkeypatch, pattern, written
) -> None:
    FailingDisk(monkeypatch).fails[pattern] = errno.ENOSPC
    run_dir = tmp_path / "full"
    arguments = [*TRAINING, "trainer.max_epochs=1"]
    if "results.json" in written:
        train(*arguments, run_dir=run_dir)
    else:
        with pytest.raises(SystemExit, match=r"error: .*results.json could not be written: No spa"):
            train(*arguments, run_dir=run_dir)
    assert "test/bpd" in capsys.readouterr().out
    names = {path.name for path in run_dir.rglob("*") if path.name in ("results.json", "final.png")}
    assert names == written - {"final.png"}


def test_the_system_itself_refuses_every_large_file(train, tmp_path, capsys) -> None:
    """Checkpoints and pictures are larger than the files that may be written."""
    run_dir = tmp_path / "limited"
    with small_files_only(12_000), pytest.raises(SystemExit, match="figures are those of step 6"):
        train(*TRAINING, run_dir=run_dir)
    assert math.isfinite(results(run_dir)["test/bpd"])
    told = (run_dir / "train.log").read_text()
    for name in ("best.ckpt", "last.ckpt"):
        assert f"{name} of step 6 could not be written (File too large)" in told
    assert "picture attention_epoch_0003.png is left out" in told
    assert "Traceback" not in capsys.readouterr().err
    assert not list(run_dir.rglob("*.tmp")) + list(run_dir.rglob("*.ckpt"))
