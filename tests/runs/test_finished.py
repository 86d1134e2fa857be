"""When a run has nothing left to do, by its results and the options of the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attnflow.runs.finished import read_finished

RESULTS = {"epochs": 2, "steps": 25, "train/seconds": 61.5, "val/bpd": 3.0, "test/bpd": 3.1}
ENDLESS = {"max_epochs": 100, "max_steps": -1, "max_time": None}


@pytest.fixture
def finished(tmp_path: Path):
    """Whether a run is finished for a command with these options of the trainer, and how."""

    def read(results: dict = RESULTS, test: bool = True, **trainer: object) -> str | None:
        (tmp_path / "results.json").write_text(json.dumps(results))
        found = read_finished(tmp_path, {"trainer": ENDLESS | trainer, "test": test})
        return found.sentence if found else None

    return read


@pytest.mark.parametrize(
    ("trainer", "told"),
    [
        ({"max_epochs": 2}, "trainer.max_epochs (2)"),
        ({"max_steps": 25, "max_epochs": 2}, "trainer.max_epochs (2) and trainer.max_steps (25)"),
        ({"max_time": "00:00:01:01"}, "trainer.max_time (00:00:01:01, over all legs)"),
        ({"max_time": {"minutes": 1}}, "trainer.max_time ({'minutes': 1}, over all legs)"),
        ({"max_time": "00:00:01:00", "min_steps": 25}, "trainer.max_time (00:00:01:00, over all"),
    ],
)
def test_what_ended_a_run_is_told(finished, tmp_path, trainer, told) -> None:
    sentence = finished(**trainer)
    assert sentence.startswith(f"{tmp_path} is finished after 2 epochs, 25 steps, and nothing was")
    assert f"; a larger {told}" in sentence
    assert sentence.endswith(" goes on.")


@pytest.mark.parametrize(
    "trainer",
    [
        {},
        {"max_epochs": 3, "max_steps": 26, "max_time": "00:00:01:02"},
        {"max_time": "00:00:01:00", "min_steps": 26},
        {"max_time": "00:00:01:00", "min_epochs": 3},
        # What Lightning refuses, or its type.
        {"max_time": "soon"},
        {"max_time": {"years": 1}},
        {"max_epochs": "many"},
    ],
)
def test_a_run_with_steps_left_is_not_finished(finished, trainer) -> None:
    assert finished(**trainer) is None


def test_time_that_was_not_counted_ends_nothing(finished) -> None:
    """That of a run which was trained without ``max_time``."""
    uncounted = {name: value for name, value in RESULTS.items() if name != "train/seconds"}
    assert finished(uncounted, max_time="00:00:00:01") is None


def test_a_test_that_is_to_be_made_is_left(finished) -> None:
    untested = {name: value for name, value in RESULTS.items() if name != "test/bpd"}
    assert finished(untested, max_epochs=2) is None
    assert finished(untested, test=False, max_epochs=2) is not None
