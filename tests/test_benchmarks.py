"""Benchmarks run, and refuse budgets that measure nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conftest import ROOT


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Puts benchmarks/ on the path and sends results to a temporary folder."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import density
    import longrange
    import tables

    for module in (tables, density, longrange):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    return tmp_path


def test_density_compares_our_recipe(benchmarks, monkeypatch) -> None:
    import density

    monkeypatch.setattr(
        sys, "argv", ["density.py", "--budget", "0.5", "--seeds", "1", "--models", "digits_none"]
    )
    density.main()
    assert "| digits_none |" in (benchmarks / "density.md").read_text()
    assert (benchmarks / "density.png").stat().st_size > 1000


def test_longrange_measures_the_gap(benchmarks, monkeypatch) -> None:
    import longrange

    arguments = ["--steps", "2", "--seeds", "1", "--couplings", "affine", "--attentions"]
    monkeypatch.setattr(sys, "argv", ["longrange.py", *arguments, "none", "itrans, signed"])
    longrange.main()
    assert "| affine | itrans, signed |" in (benchmarks / "longrange.md").read_text()


def test_attention_is_compared_with_none(benchmarks, monkeypatch) -> None:
    import attention

    arguments = ["--data", "digits", "--steps", "2", "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", ["attention.py", *arguments])
    attention.main()
    lines = (benchmarks / "attention_digits.md").read_text()
    assert "| digits | none |" in lines
    assert "| digits | itrans |" in lines


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("density", ["--budget", "0"], "budget is 0"),
        ("density", ["--seeds", "0"], "seeds are 0"),
        ("longrange", ["--steps", "0"], "steps is 0"),
        ("attention", ["--seeds", "0"], "seeds is 0"),
    ],
)
def test_empty_budgets_are_refused(
    benchmarks, monkeypatch, capsys, name, arguments, message
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        __import__(name).main()
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
