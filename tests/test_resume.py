"""Interrupted and resumed training ends where uninterrupted training ends."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import results

# A schedule that does not depend on where training stops, so that both runs are comparable.
OPEN_ENDED = ["scheduler=warmup_constant", "attention=itrans"]


def last(run_dir: Path) -> dict:
    return torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)


def assert_same(a: object, b: object, where: str = "") -> None:
    """Bit for bit, through nested dicts and lists."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for index, (left, right) in enumerate(zip(a, b, strict=True)):
            assert_same(left, right, f"{where}[{index}]")
    else:
        assert a == b, where


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
    for part_of_state in (
        "state_dict",  # the averaged weights
        "current_model_state",
        "averaging_state",
        "optimizer_states",
        "lr_schedulers",
    ):
        assert_same(a[part_of_state], b[part_of_state], part_of_state)
    assert (a["epoch"], a["global_step"]) == (b["epoch"], b["global_step"]) == (3, 12)
    assert results(whole)["steps"] == results(resumed)["steps"] == 12
    # What the first part logged is still there.
    assert (part / "csv" / "version_0" / "metrics.csv").read_text() == first_metrics


def test_auto_starts_afresh_where_there_is_nothing(train) -> None:
    assert results(train("resume=auto"))["steps"] == 6
