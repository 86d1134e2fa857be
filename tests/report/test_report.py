"""Reports on folders of runs, whatever state the runs are in."""

from __future__ import annotations

import csv
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from run_folders import Outline, write_curve, write_run
from torchvision.utils import save_image

from attnflow import AttnFlowError
from attnflow.report.runs import DAMAGED, DONE, FAILED, NEVER_STARTED, UNFINISHED, read_runs
from attnflow.report.sweep import Sweep
from attnflow.report.tables import cell, setting_table
from attnflow.report.write import write_report


@pytest.fixture
def sweep(tmp_path) -> Path:
    """Two attentions, two placements and two seeds, with all that can go wrong."""
    job = 0
    for attention in ("imap", "itrans"):
        for placement in ("after_coupling", "level_end"):
            for seed in (0, 1):
                settings = {"attention": attention, "placement": placement, "seed": seed}
                bpd = 2.0 + job / 10
                results = {"val/bpd": bpd, "test/bpd": bpd + 0.1, "seed": seed}
                run = write_run(tmp_path / str(job), results, **settings)
                write_curve(run, 4.0, bpd + 0.5, bpd)
                job += 1
    (tmp_path / "samples").mkdir()  # no run
    picture = tmp_path / "2" / "samples" / "final.png"
    picture.parent.mkdir()
    save_image(torch.rand(3, 8, 8), picture)
    traceback = "Traceback (most recent call last):\n  File <x>\nRuntimeError: no & memory"
    write_run(tmp_path / "8", error=traceback, attention="none", placement="level_end", seed=0)
    half = write_run(tmp_path / "9", attention="none", placement="after_coupling", seed=0)
    write_curve(half, 3.5, 3.25)
    write_run(tmp_path / "10", '{"val/bpd": 2.', attention="none", placement="level_end", seed=1)
    (tmp_path / "11").mkdir()
    return tmp_path


def test_runs_in_every_state(sweep) -> None:
    runs = {run.name: run for run in read_runs(sweep)}
    assert list(runs) == [str(job) for job in range(12)]
    states = [run.status for run in runs.values()]
    assert states == [DONE] * 8 + [FAILED, UNFINISHED, DAMAGED, NEVER_STARTED]
    assert runs["8"].note.endswith("RuntimeError: no & memory")
    assert "at step 20 the best val/bpd was 3.250" in runs["9"].note
    assert runs["10"].note.startswith("results.json: expected JSON, got 'Expecting ','")
    assert runs["11"].note.startswith("a folder without .hydra")
    assert runs["3"].setting("model.levels") == "2"
    assert [path.name for path in runs["2"].pictures] == ["final.png"]


def test_settings_are_compared_over_their_seeds(sweep) -> None:
    found = Sweep(read_runs(sweep))
    assert found.metric == "val/bpd"
    assert found.varying == ["attention", "placement", "seed"]
    assert found.axes == ("attention", "placement")
    best = found.settings[0]
    assert best.values == ("imap", "after_coupling")
    figure = best.figure("val/bpd")
    assert figure.mean == pytest.approx(2.05)
    assert figure.spread == pytest.approx(statistics.stdev([2.0, 2.1]))
    assert cell("val/bpd", figure) == "2.050 ± 0.071"
    header, rows, _ = setting_table(found)
    assert header[:4] == ["attention", "placement", "runs", "val/bpd"]
    assert [row[2] for row in rows] == ["2"] * 4  # others are listed apart
    assert [run.name for run in found.ranked[:3]] == ["0", "1", "2"]


def test_the_page_tells_all_and_needs_nothing_else(sweep) -> None:
    path = write_report(sweep)
    assert path == sweep / "report" / "index.html"
    html = path.read_text()
    outline = Outline(html)
    for words in (
        "12 runs: 8 done, 1 failed, 1 damaged, 1 unfinished, 1 never started",
        "imap · after_coupling",
        "2.050 ± 0.071",
        "RuntimeError: no & memory",
        "at step 20 the best val/bpd was 3.250",
        "results.json: expected JSON",
    ):
        assert words in outline.words, words
    assert outline.tags.count("svg") == 5
    assert outline.tags.count("img") == 1
    assert all(value.startswith(("data:", "#")) for value in outline.loaded)
    assert not re.search(r"@import|url\((?!#)", html)
    for link in re.findall(r'<a href="([^"]+)"', html):
        assert (path.parent / link).exists(), link
    assert write_report(sweep) == path  # its own folder is no run
    assert "12 runs" in path.read_text()


def test_tables_to_compute_with_and_to_paste(sweep) -> None:
    folder = write_report(sweep).parent
    with (folder / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows[:8]] == [str(job) for job in range(8)]
    assert float(rows[3]["test/bpd"]) == 2.0 + 0.3 + 0.1
    failed = next(row for row in rows if row["status"] == FAILED)
    assert failed["note"] == "RuntimeError: no & memory"
    markdown = (folder / "report.md").read_text()
    assert "| imap | after_coupling | 2 | 2.050 ± 0.071 |" in markdown
    for chart in re.findall(r"\]\(([^)]+)\)", markdown):
        assert "<svg" in (folder / chart).read_text()
    assert (folder / "heatmap_val_bpd.svg").exists()
    assert (folder / "heatmap_images_per_second.svg").exists()
    assert (folder / "heatmap_params.svg").exists()


def test_heat_maps_hold_the_means_and_name_what_is_missing(sweep) -> None:
    write_report(sweep)
    text = (sweep / "report" / "heatmap_val_bpd.svg").read_text()
    words = re.findall(r"<text[^>]*>([^<]+)</text>", text)
    for word in ("2.050", "± 0.071", "2.250", "2.450", "2.650", "failed", "unfinished"):
        assert word in words, word
    assert {"imap", "itrans", "none", "after_coupling", "level_end"} <= set(words)


def test_another_metric_and_more_of_it_is_better(tmp_path) -> None:
    for job, rate in enumerate((10.0, 30.0, 20.0)):
        results = {"test/bpd": 2.0, "images_per_second": rate}
        write_run(tmp_path / f"run_{job}", results, optimizer__lr=10.0**-job)
    found = Sweep(read_runs(tmp_path), "images_per_second")
    assert found.varying == ["optimizer.lr"]
    assert found.levels("optimizer.lr") == ["0.01", "0.1", "1.0"]
    assert [run.name for run in found.ranked] == ["run_1", "run_2", "run_0"]
    assert Sweep(read_runs(tmp_path)).metric == "test/bpd"
    with pytest.raises(AttnFlowError, match="metric is 'val/fid', which no finished run has"):
        write_report(tmp_path, "val/fid")
    write_report(tmp_path)  # one factor, one seed, no curves


def test_evaluations_of_several_seeds_are_repetitions(tmp_path) -> None:
    for job, attention in enumerate(("imap", "imap", "itrans")):
        results = {"test/bpd": 2.0 + job, "attention": attention}
        run = write_run(tmp_path / str(job), results, ckpt_path=f"runs/{job}/best.ckpt")
        # eval.py composes no attention: its choice is that of the training.
        (run / ".hydra" / "hydra.yaml").write_text("hydra: {runtime: {choices: {trainer: cpu}}}")
    found = Sweep(read_runs(tmp_path))
    assert found.factors == ["attention"]
    assert [len(setting.runs) for setting in found.settings] == [2, 1]
    (tmp_path / "2" / "results.json").write_text('{"test/bpd": 4.0, "attention": "imap"}')
    assert Sweep(read_runs(tmp_path)).factors == ["ckpt_path"]


@pytest.mark.parametrize("state", ["one", "failed", "not finite"])
def test_the_smallest_folders(tmp_path, state) -> None:
    """A single run itself, nothing but a failure, and a figure that was not finite."""
    results = {"val/bpd": 2.0 if state == "one" else None}
    run = write_run(tmp_path / "a b", None if state == "failed" else results, error="x" * 500)
    if state != "failed":
        (run / "error.txt").unlink()
    path = write_report(run if state == "one" else tmp_path)
    assert "1 run" in Outline(path.read_text()).words


def test_folders_without_runs_are_named(tmp_path) -> None:
    with pytest.raises(AttnFlowError, match="nowhere does not exist"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(AttnFlowError, match="holds no run"):
        write_report(tmp_path)
    command = [sys.executable, "-m", "attnflow.report", str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert told.stderr.startswith("error: folder ")
    assert told.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_report_does_not_wait_for_torch(sweep) -> None:
    code = "import sys, attnflow.report.write; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    command = [sys.executable, "-m", "attnflow.report", str(sweep), "--pictures", "0"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(sweep / "report" / "index.html")
    assert "<img" not in (sweep / "report" / "index.html").read_text()
