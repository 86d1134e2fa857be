"""Benchmarks run, and refuse budgets that measure nothing."""

from __future__ import annotations

import copy
import math
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import SMALL
from processes import SERVER
from torch import nn

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


@pytest.fixture
def small(benchmarks, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Trains in this process, small flows on few images of longrange; returns as ``benchmarks``."""
    import attention
    import density
    import longrange
    import recipes

    for module in (attention, density, longrange):
        monkeypatch.setattr(module, "each", lambda run, jobs, _: ((job, run(job)) for job in jobs))
    monkeypatch.setitem(recipes.DATA, "longrange", ["data=longrange", "data.num_train=128"])
    for flow, options in longrange.FLOWS.items():
        kind = "tarflow" if flow.startswith("tarflow") else "jet" if flow == "jet" else "glow"
        size = [option for option in SMALL[kind] if "hidden" not in option]
        monkeypatch.setitem(longrange.FLOWS, flow, [*options, *size])
    for flow, options in recipes.FLOWS.items():
        monkeypatch.setitem(options, "longrange", [*options["longrange"], *SMALL[flow]])
    return benchmarks


def cells(text: str) -> list[list[str]]:
    """The rows of a result's tables, columns' names too."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_budgets_are_of_the_processor() -> None:
    """Waiting, for which wall clock would charge a model that something else slows, is free."""
    import loop

    from attnflow.spec import DataSpec

    class Sleeper(nn.Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            time.sleep(0.02)
            return super().forward(images.flatten(1).float()).square().mean(1)

    images = torch.zeros(64, 1, 2, 2)
    data = loop.Data(images, images[:2], images[:2], DataSpec((1, 2, 2), 2))
    started = time.perf_counter()
    outcome = loop.train_for(
        0.02, Sleeper(4, 4), lambda model, x, rows, epoch: model(x), data, loop.Recipe(), seed=0
    )
    spent = outcome.curve[-1][0]
    assert 0.02 <= spent < (time.perf_counter() - started) / 2


def test_a_copied_peer_has_weights_of_its_own() -> None:
    """The averaged weights are a copy of a model, whose bits/dim choose among them."""
    from peers import Standardised

    images = torch.rand(8, 1, 2, 2)
    peer = Standardised(nn.Linear(4, 1), lambda net, x: net(x)[:, 0], lambda net, n: None, images)
    copied = copy.deepcopy(peer)
    before = copied.log_prob(images)
    with torch.no_grad():
        peer.network.bias += 1
    assert torch.equal(copied.log_prob(images), before)
    torch.testing.assert_close(peer.log_prob(images), before + 1)


def test_the_published_tarflow_has_a_density_of_images() -> None:
    """Images in [0, 1) have it, of a flow that takes them in [-1, 1)."""
    from peers import PEERS

    torch.manual_seed(0)
    images = torch.rand(4, 1, 4, 4)
    model = PEERS["TarFlow as published, 64 wide (our class)"].make(images)
    # It starts as the standard normal of what it takes.
    normal = torch.distributions.Normal(0, 1).log_prob(2 * images - 1).flatten(1).sum(1)
    torch.testing.assert_close(model.log_prob(images), normal + 16 * math.log(2))
    assert model.sample(2).shape == (2, 1, 4, 4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    (z,) = model.network.encode(2 * images - 1)
    back = (model.network.decode([z]) + 1) / 2
    torch.testing.assert_close(back, images, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_density_compares_models_on_equal_data(small, monkeypatch, capsys) -> None:
    import density

    absent = replace(density.PEERS["zuko MAF"], package="nowhere")
    monkeypatch.setitem(density.PEERS, "zuko MAF", absent)
    published = "TarFlow as published, 64 wide (our class)"
    arguments = ["--budget", "0.2", "--seeds", "1", "--models", "glow, none", published, "zuko MAF"]
    arguments += ["--recipe", "one block", "model=tarflow", "model.blocks=1", "attention=none"]
    monkeypatch.setattr(sys, "argv", ["density.py", *arguments, "--rates", "0.001", "0.002"])
    density.main()
    assert "zuko MAF is left out: nowhere is not installed" in (out := capsys.readouterr().out)
    assert f"{published} at rate 0.002: val" in out
    columns, *rows = cells((small / "density_digits_0.2.md").read_text())
    assert {row[0] for row in rows} == {"glow, none", published, "one block"}
    for row in rows:
        of = dict(zip(columns, row, strict=True))
        assert 1 < float(of["test bpd"]) < 8
        assert int(of["steps"]) >= 1
        assert int(of["log_prob of 64 (ms)"]) >= 1
    assert [row[1] for row in rows] == sorted(row[1] for row in rows)
    assert (small / "density_digits_0.2.png").stat().st_size > 1000


def test_a_peer_keeps_the_rate_and_the_batch_that_validation_prefers(monkeypatch) -> None:
    import density

    jobs = [
        density.Job(name, "digits", None, seed, 1.0, 1) for seed in (0, 1) for name in ("a", "b")
    ]
    jobs.append(density.Job("ours", "digits", ("x",), 0, 1.0, 1))
    best = {"a": 2e-3, "b": 1e-3}

    def each(_, tried, processes):
        for job in tried:
            bpd = abs(job.learning_rate - best[job.name]) + job.batch_size
            outcome = SimpleNamespace(val_bpd=bpd)
            yield job, SimpleNamespace(outcome=outcome)

    monkeypatch.setattr(density, "each", each)
    found = density.preferred(jobs, [1e-3, 2e-3, 4e-3], [16, 8], 1)
    assert [job.learning_rate for job in found] == [2e-3, 1e-3, 2e-3, 1e-3, None]
    assert [job.batch_size for job in found] == [8, 8, 8, 8, None]
    assert [replace(job, learning_rate=None, batch_size=None) for job in found] == jobs


@pytest.mark.slow
def test_longrange_measures_the_gap_at_every_offset(small, monkeypatch) -> None:
    import longrange

    arguments = ["--steps", "1", "--flows", "affine", "tarflow, patch 2", "--attentions"]
    arguments += ["none", "itrans_reading", "--offsets", "4,8", "7,5"]
    monkeypatch.setattr(sys, "argv", ["longrange.py", *arguments])
    longrange.main()
    columns, *rows = cells((small / "longrange.md").read_text())
    assert columns[2:] == ["(4, 8)", "(7, 5)", "least"]
    for row in rows[:4]:
        shares = [int(cell.removesuffix("%")) for cell in row[2:]]
        assert shares[2] == min(shares) < 50
    detail, *rows = rows[4:]
    assert len(rows) == 8
    for row in rows:
        of = dict(zip(detail, row, strict=True))
        closed = (4 - float(of["test bpd"])) / (4 - 2.4083)
        assert int(of["gap closed"].removesuffix("%")) == pytest.approx(100 * closed, abs=1)
    assert (small / "longrange.png").stat().st_size > 1000


def test_longrange_closes_nothing_by_single_pixels_and_all_at_the_entropy() -> None:
    import longrange

    module = longrange.LongRangeDataModule()
    assert longrange.gap_closed(4.0, module) == 0
    assert longrange.gap_closed(module.entropy, module) == 1


@pytest.mark.slow
def test_longrange_at_equal_seconds_in_a_process(benchmarks, monkeypatch) -> None:
    import longrange

    arguments = ["--seconds", "0.1", "--flows", "affine", "--offsets", "3,8", "--attentions"]
    monkeypatch.setattr(sys, "argv", ["longrange.py", *arguments, "imap"])
    longrange.main()
    rows = cells((benchmarks / "longrange_seconds.md").read_text())
    assert rows[-1][:3] == ["(3, 8)", "affine", "imap"]


@pytest.mark.slow
def test_attention_is_compared_with_none_of_the_same_flow(small, monkeypatch) -> None:
    import attention

    arguments = ["--data", "longrange", "--steps", "1", "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", ["attention.py", *arguments])
    attention.main()
    columns, *rows = cells((small / "attention_longrange.md").read_text())
    tests = {(row[0], row[1]): float(row[2]) for row in rows}
    flows, attentions = ("glow", "jet", "tarflow"), ("none", "imap", "itrans", "itrans_linear")
    assert list(tests) == [(flow, kind) for flow in flows for kind in attentions]
    for flow, kind, *figures in rows:
        gain = float(figures[columns.index("less than none") - 2])
        assert gain == pytest.approx(tests[flow, "none"] - tests[flow, kind], abs=2e-4)


@pytest.mark.slow
def test_sampling_measures_cost_and_exactness_of_every_solver(benchmarks, monkeypatch) -> None:
    import sampling

    loose = sampling.JacobiSolver(tolerance=1e9)
    monkeypatch.setattr(sampling, "IMAGES", 4)
    monkeypatch.setitem(sampling.SOLVERS, "one sweep", loose)
    small = [*SMALL["tarflow"], "optimizer.lr=0.05"]
    arguments = ["--sizes", "8", "--train-seconds", "0.5", "--repeats", "1", "--options", *small]
    monkeypatch.setattr(sys, "argv", ["sampling.py", *arguments])
    sampling.main()
    columns, *rows = cells((benchmarks / "sampling.md").read_text())
    found = {row[1]: dict(zip(columns, row, strict=True)) for row in rows}
    assert list(found) == list(sampling.SOLVERS)
    sweeps = {name: int(of["sweeps"]) for name, of in found.items()}
    differences = {name: float(of["difference"]) for name, of in found.items()}
    assert sweeps["serial"] == sweeps["cached"] == 2 * 16 == int(found["serial"]["of at most"])
    assert 2 < sweeps["Jacobi"] <= 32
    assert sweeps["one sweep"] == 2
    assert differences["one sweep"] > 1e-3 > float(found["Jacobi"]["residual"])
    for name in ("cached", "Jacobi", "Gauss-Seidel-Jacobi, window of 16"):
        assert differences[name] < 1e-3
    assert float(found["serial"]["times as fast as serial"]) == 1


@pytest.mark.parametrize("noise", ["uniform", "gaussian"])
def test_guidance_is_judged_by_a_classifier_of_real_images(
    benchmarks, train, monkeypatch, noise
) -> None:
    import guidance

    monkeypatch.setattr(guidance, "RESULTS", benchmarks)
    options = ["conditioning=class", "conditioning.condition_dropout=0.1", "model.levels=1"]
    run_dir = train(*options, f"dequantization={noise}", "test=false")
    options = ["--data", "digits", "--images", "20", "--weights", "0", "1"]
    monkeypatch.setattr(sys, "argv", ["guidance.py", str(run_dir), *options])
    guidance.main()
    _, real, *guided = cells((benchmarks / "guidance.md").read_text())
    assert real[0] == "real, test"
    assert float(real[2]) > 0.8  # of the classifier itself
    assert [row[1] for row in guided] == ["0", "1"]
    # The density of noisy images is none of the images.
    assert all((row[4] == "") == (noise == "gaussian") for row in [real, *guided])
    # A model of a few steps draws what nothing can read.
    assert all(float(row[2]) < 0.6 for row in guided)
    assert (benchmarks / "guidance_1.png").stat().st_size > 1000


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


def test_large_data_measures_memory_of_every_size(benchmarks, monkeypatch) -> None:
    import large_data

    monkeypatch.setattr(large_data, "apart", lambda function, *how: function(*how))
    monkeypatch.setattr(large_data, "SHARD", 100)
    sizes = ["--images", "256", "128", "--workers", "0", "1", "--batches", "2", "--files", "128"]
    monkeypatch.setattr(sys, "argv", ["large_data.py", *sizes])
    large_data.main()
    header, *rows = cells((benchmarks / "large_data.md").read_text())
    found = [dict(zip(header, row, strict=True)) for row in rows]
    expected = [(name, size) for name in ("huggingface", "patches") for size in ("128", "256")]
    expected.append(("image_folder", "128"))
    assert [(row["data"], row["images"], row["workers"]) for row in found] == [
        (*each, workers) for each in expected for workers in ("0", "1")
    ]
    assert all(0 < int(row["held MB"]) <= int(row["most MB"]) for row in found)
    assert all(float(row["images/s"].replace(",", "")) > 0 for row in found)


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


@pytest.mark.slow
def test_recipes_are_measured_also_against_a_checkout_and_over_ranks(
    benchmarks, monkeypatch
) -> None:
    import recipe_speed

    options = ["--repeats", "1", "--ranks", "--baseline", str(recipe_speed.ROOT)]
    names = ["digits_tarflow, none", "digits, imap"]
    monkeypatch.setattr(sys, "argv", ["recipe_speed.py", *options, "--recipes", *names])
    recipe_speed.main()
    found = cells((benchmarks / "recipe_speed.md").read_text())
    alone, compared, ranks = found[1:3], found[4:6], found[7:]
    assert [row[0] for row in alone] == [row[0] for row in compared] == names
    for row in alone:
        assert 0 < float(row[3]) < 1
        assert all(float(cell.replace(",", "")) > 0 for cell in (row[2], *row[6:9]))
    assert all(float(row[3]) > 0 for row in compared)
    assert [row[0] for row in ranks] == names
    assert all(float(cell) > 0 for row in ranks for cell in row[1:])


def test_a_stepper_that_ends_says_so(tmp_path) -> None:
    import stepper

    (tmp_path / "src").mkdir()
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "loop.py").write_text("raise SystemExit(3)")
    with pytest.raises(RuntimeError, match="ended before it had answered"):
        stepper.Stepper(tmp_path, "digits, imap")


def test_exponents_are_fitted_where_the_work_dominates(benchmarks) -> None:
    import speed

    times = {tokens: 3e-3 * tokens**1.5 for tokens in (256, 1024, 4096)}
    assert speed.exponent({16: 1e9, **times}) == pytest.approx(1.5)
    assert speed.exponent({16: 1.0}) != speed.exponent({16: 1.0})  # NaN


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "density",
            ["--budget", "0"],
            "budget: expected a number above 0, got 0.0",
        ),
        ("density", ["--seeds", "0"], "seeds: expected 1 or more, got 0"),
        ("sampling", ["--repeats", "0"], "repeats: expected 1 or more, got 0"),
        ("longrange", ["--steps", "0"], "steps: expected 1 or more, got 0"),
        ("longrange", ["--offsets", "4,9"], "expected ROWS,COLUMNS, got 4,9 (offset: expected"),
        ("longrange", ["--offsets", "4"], "expected ROWS,COLUMNS, got 4"),
        ("attention", ["--seconds", "0"], "seconds: expected a number above 0, got 0"),
        ("longrange", ["--seconds", "0"], "seconds: expected a number above 0, got 0"),
        ("attention", ["--seeds", "0"], "seeds: expected 1 or more, got 0"),
        ("large_data", ["--images", "9"], "images: expected 74 or more, got [9]"),
        ("memory", ["--steps", "4", "0"], "steps: expected 1 or more, got [4, 0]"),
        ("speed", ["--repeats", "0"], "repeats: expected 1 or more, got 0"),
        ("recipe_speed", ["--repeats", "0"], "repeats: expected 1 or more, got 0"),
        ("recipe_speed", ["--baseline", "no"], "baseline: expected a checkout, with a folder src"),
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
