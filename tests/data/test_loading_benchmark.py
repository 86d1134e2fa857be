"""The loading benchmark times every data set."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest
from conftest import ROOT


@pytest.fixture
def benchmark(monkeypatch, tmp_path):
    """benchmarks/data.py, with fewer files and its table in a temporary folder."""
    module = import_module("data")
    monkeypatch.setattr(import_module("tables"), "RESULTS", tmp_path)
    monkeypatch.setattr(module, "BATCH_SIZE", 16)
    monkeypatch.setattr(module, "NUM_IMAGES", 80)
    monkeypatch.setattr(module, "NUM_OFFICIAL", 5_080)
    monkeypatch.setattr(module, "NUM_STREETS", 16)
    return module


@pytest.mark.slow
def test_every_data_set_is_timed(benchmark, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(sys, "argv", ["data.py", "--repeats", "1"])
    benchmark.main()
    table = (tmp_path / "data.md").read_text()
    for path in (ROOT / "conf" / "data").glob("*.yaml"):
        # maps is a paired folder, imagenet64 is imagenet32 at another size, natural16 are patches.
        alike = {"maps", "imagenet64", "natural16", "natural32"}
        assert path.stem in alike or f"| {path.stem}" in table


def test_no_repeats_are_refused(benchmark, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["data.py", "--repeats", "0"])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "repeats: expected 1 or more, got 0" in capsys.readouterr().err
