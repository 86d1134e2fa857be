"""Interrupted and resumed training ends where uninterrupted training ends."""

from __future__ import annotations

import pytest
from conftest import results
from runs import OPEN_ENDED, assert_same_training, last


@pytest.mark.parametrize("how", ["path", "auto", "directory"])
def test_resumed_training_is_uninterrupted_training(train, how) -> None:
    whole = train(*OPEN_ENDED, "trainer.max_epochs=4")
    part = train(*OPEN_ENDED, "trainer.max_epochs=2")
    first_metrics = (part / "csv" / "version_0" / "metrics.csv").read_text()
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
    # What the first part logged is still there.
    assert (part / "csv" / "version_0" / "metrics.csv").read_text() == first_metrics


def test_auto_starts_afresh_where_there_is_nothing(train) -> None:
    assert results(train("resume=auto"))["steps"] == 6
