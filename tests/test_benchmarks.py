"""Benchmarks run, and refuse budgets that measure nothing."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from processes import SERVER

from attnflow.flows.compilation import compile_flow


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Sends results to a temporary folder, which it returns."""
    import density
    import longrange
    import memory
    import speed
    import tables

    for module in (tables, density, longrange, memory, speed):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    # Their processes need not import everything anew.
    monkeypatch.setattr("multiprocessing.get_context", lambda _: SERVER)
    return tmp_path


@pytest.mark.slow
def test_density_compares_our_recipe(benchmarks, monkeypatch) -> None:
    import density

    monkeypatch.setattr(
        sys, "argv", ["density.py", "--budget", "0.5", "--seeds", "1", "--models", "digits, none"]
    )
    density.main()
    assert "| digits, none |" in (benchmarks / "density.md").read_text()
    assert (benchmarks / "density.png").stat().st_size > 1000


@pytest.mark.slow
def test_longrange_measures_the_gap(benchmarks, monkeypatch) -> None:
    import longrange

    arguments = ["--steps", "2", "--seeds", "1", "--couplings", "affine", "--attentions"]
    monkeypatch.setattr(sys, "argv", ["longrange.py", *arguments, "none", "itrans, signed"])
    longrange.main()
    assert "| affine | itrans, signed |" in (benchmarks / "longrange.md").read_text()


@pytest.mark.slow
def test_longrange_at_equal_seconds(benchmarks, monkeypatch) -> None:
    import longrange

    arguments = ["--seconds", "0.5", "--seeds", "1", "--couplings", "affine", "--attentions"]
    monkeypatch.setattr(sys, "argv", ["longrange.py", *arguments, "itrans_causal", "itrans_linear"])
    longrange.main()
    text = (benchmarks / "longrange_seconds.md").read_text()
    assert "| affine | itrans_causal |" in text
    assert "| affine | itrans_linear |" in text


@pytest.mark.slow
def test_attention_is_compared_with_none(benchmarks, monkeypatch) -> None:
    import attention

    arguments = ["--data", "digits", "--steps", "2", "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", ["attention.py", *arguments])
    attention.main()
    lines = (benchmarks / "attention_digits.md").read_text()
    assert "| digits | none |" in lines
    assert "| digits | itrans |" in lines


def test_reversible_training_keeps_the_same_at_any_depth(benchmarks, monkeypatch) -> None:
    import memory

    monkeypatch.setattr(memory, "measure_apart", memory.measure)
    sizes = ["--steps", "2", "6", "--hidden-channels", "16", "--batch-size", "16"]
    monkeypatch.setattr(sys, "argv", ["memory.py", *sizes])
    memory.main()
    lines = (benchmarks / "memory.md").read_text().splitlines()[4:]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    kept = {(row[0], int(row[1])): float(row[3]) for row in rows}
    assert kept["reversible", 6] < 1.1 * kept["reversible", 2]
    assert kept["none", 6] > 2 * kept["none", 2] > 4 * kept["reversible", 2]
    assert kept["none", 6] > kept["checkpoint", 6] > kept["reversible", 6]
    assert (benchmarks / "memory.png").stat().st_size > 1000


@pytest.mark.slow
def test_speed_measures_steps_samples_and_scaling(benchmarks, monkeypatch) -> None:
    import speed

    # The peers are no part of the test set-up.
    arguments = ["--repeats", "1", "--hidden", "8", "--tokens", "16", "256", "--peers"]
    arguments.append("--compiled")
    # The code that a compiler would write is not what is tested here.
    monkeypatch.setattr(speed, "compile_flow", partial(compile_flow, backend="eager"))
    monkeypatch.setattr(speed, "MEMORY_TOKENS", 16)
    monkeypatch.setattr(speed, "BATCH_SIZE", 2)
    monkeypatch.setattr(sys, "argv", ["speed.py", *arguments])
    speed.main()
    text = (benchmarks / "speed.md").read_text()
    models = ("| 8 | attnflow |", "| 8 | attnflow, compiled |")
    for row in (*models, "| itrans_linear, patch 1 |", "| imap |"):
        assert row in text
    linear = next(line for line in text.splitlines() if line.startswith("| itrans_linear |"))
    assert 0 < float(linear.split("|")[2]) < 1e5
    assert (benchmarks / "speed.png").stat().st_size > 1000


def test_exponents_are_fitted_where_the_work_dominates(benchmarks) -> None:
    import speed

    times = {tokens: 3e-3 * tokens**1.5 for tokens in (256, 1024, 4096)}
    assert speed.exponent({16: 1e9, **times}) == pytest.approx(1.5)
    assert speed.exponent({16: 1.0}) != speed.exponent({16: 1.0})  # NaN


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("density", ["--budget", "0"], "budget above 0 and 1 seed or more, got 0.0 and 3"),
        ("density", ["--seeds", "0"], "1 seed or more, got 60 and 0"),
        ("longrange", ["--steps", "0"], "steps: expected 1 or more, got 0"),
        ("longrange", ["--seconds", "0"], "seconds: expected a number above 0, got 0"),
        ("attention", ["--seeds", "0"], "seeds: expected 1 or more, got 0"),
        ("memory", ["--steps", "4", "0"], "steps: expected 1 or more, got [4, 0]"),
        ("speed", ["--repeats", "0"], "repeats: expected 1 or more, got 0"),
        ("speed", ["--tokens", "15"], "tokens: expected squares of 2 or more, got 15"),
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


def test_parity_finds_what_differs(tmp_path) -> None:
    import parity

    name = "attention itrans_linear"
    parity.record(parity.ROOT, name, tmp_path / "ours.pt")
    found = torch.load(tmp_path / "ours.pt")
    assert parity.table(found, found)[1]
    for kind, difference in (("float32", 1e-3), ("float64", 1e-8)):
        moved = {key: dict(value) if key[1] == kind else value for key, value in found.items()}
        moved[name, kind]["log_prob"] = found[name, kind]["log_prob"] * (1 + difference)
        assert not parity.table(found, moved)[1]
