"""Early stopping: a run that it ended is finished, and a resumed one has its own patience."""

from __future__ import annotations

import pytest
from conftest import results

from attnflow.models.checkpoint import read_checkpoint
from attnflow.runs.finished import early_stopping

CALLBACK = "+callbacks.stop"
# Whatever bits/dim do, they do not fall by so much.
STOPPING = [
    f"{CALLBACK}._target_=lightning.pytorch.callbacks.EarlyStopping",
    f"{CALLBACK}.min_delta=50",
]
LONG = [
    "trainer.max_epochs=5",
    "trainer.limit_train_batches=1",
    "trainer.check_val_every_n_epoch=1",
    "test=false",
]
MONITOR = f"{CALLBACK}.monitor=val/bpd"


def test_a_run_that_was_stopped_early_is_finished_until_its_options_change(
    train, tmp_path, capsys
) -> None:
    options = [*LONG, *STOPPING, MONITOR]
    run_dir = train(*options, f"{CALLBACK}.patience=1", run_dir=tmp_path / "run")
    told = "callbacks.stop (min_delta=50, monitor=val/bpd, patience=1)"
    before = results(run_dir)
    assert (before["steps"], before["stopped_by"]) == (2, told)

    capsys.readouterr()
    train(*options, f"{CALLBACK}.patience=1", "resume=auto", run_dir=run_dir)
    said = f"{told} stopped it, and with other options it goes on."
    assert said in capsys.readouterr().out
    assert results(run_dir) == before

    train(*options, f"{CALLBACK}.patience=3", "resume=auto", run_dir=run_dir)
    states = read_checkpoint(run_dir / "checkpoints" / "last.ckpt")["callbacks"]
    (state,) = (state for name, state in states.items() if name.startswith("EarlyStopping"))
    assert (state["patience"], state["wait_count"]) == (3, 3)
    assert results(run_dir)["steps"] == 4


def test_a_run_that_reached_its_end_was_not_stopped(train) -> None:
    run_dir = train(*LONG[1:], "trainer.max_epochs=1", *STOPPING, MONITOR)
    assert "stopped_by" not in results(run_dir)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            [f"{CALLBACK}.monitor=val/loss"],
            "EarlyStopping.monitor: expected one of .*val/bpd.*'val",
        ),
        (
            [MONITOR, f"{CALLBACK}.patience=-1"],
            "EarlyStopping.patience: expected 0 or more, got -1",
        ),
    ],
)
def test_what_could_never_stop_a_run_is_refused(train, options, sentence) -> None:
    with pytest.raises(SystemExit, match=sentence):
        train(*LONG, *STOPPING, *options)


def test_early_stopping_is_found_by_its_class() -> None:
    callbacks = {
        "ema": None,
        "spikes": {"_target_": "attnflow.callbacks.spikes.SpikeDetection"},
        "a": {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "patience": 2},
        "b": {"_target_": "pytorch_lightning.callbacks.early_stopping.EarlyStopping"},
    }
    assert early_stopping(callbacks) == "callbacks.a (patience=2) and callbacks.b ()"
