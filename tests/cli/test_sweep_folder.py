"""A folder of its own for every sweep, and for each of its jobs; no training twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT, TINY, results
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from refusals import refused
from runs import content, last

from attnflow.cli.repeats import fingerprint, original_of, skip
from attnflow.report.runs import DONE, SKIPPED, read_runs

SWEEP = ["-m", *TINY, "test=false"]


@pytest.mark.slow
def test_a_sweep_is_not_overwritten_unless_meant(command, tmp_path) -> None:
    sweep = tmp_path / "sweep"
    command("train", *SWEEP, "seed=0,1", run_dir=sweep)
    before = content(sweep)
    told = refused(command, "train", *SWEEP, "seed=0,1", run_dir=sweep)
    assert f"hydra.sweep.dir: expected a folder without a sweep, got {sweep}" in told
    told = refused(command, "train", *SWEEP, "seed=1,0", "resume=auto", run_dir=sweep)
    assert "(seed=0,1), got another (seed=1,0)" in told
    assert "got a sweep's" in refused(command, "train", *TINY, "overwrite=true", run_dir=sweep)
    told = refused(command, "train", *SWEEP, "seed=0,1", run_dir=sweep / "0")
    assert "expected the folder of a sweep" in told
    assert content(sweep) == before

    going_on = ["resume=auto", "scheduler=warmup_constant", "trainer.max_epochs=2"]
    command("train", *SWEEP, "seed=0,1", *going_on, run_dir=sweep)
    assert [last(sweep / job)["global_step"] for job in "01"] == [6, 6]

    command("train", *SWEEP, "seed=5", "overwrite=true", run_dir=sweep)
    assert results(sweep / "0")["seed"] == 5
    assert results(sweep / "overwritten" / "1")["seed"] == 1
    assert [run.name for run in read_runs(sweep)] == ["0"]


def test_jobs_must_have_a_folder_each(command, tmp_path) -> None:
    for subdir in ("same", "'${seed}'", "'${hydra:job.override_dirname}'"):
        options = ["seed=0,1", f"hydra.sweep.subdir={subdir}"]
        told = refused(command, "train", *SWEEP, *options, run_dir=tmp_path / "sweep")
        assert "hydra.sweep.subdir: expected a name with ${hydra:job.num}" in told
    assert not (tmp_path / "sweep").exists()


@pytest.mark.slow
def test_without_attention_its_placement_is_trained_once(command, tmp_path, capsys) -> None:
    sweep = tmp_path / "sweep"
    grid = ["attention=none,imap", "placement=before_actnorm,after_coupling"]
    command("train", *SWEEP, *grid, run_dir=sweep)
    assert [(sweep / job / "results.json").exists() for job in "0123"] == [True, False, True, True]
    told = "skipped: the same as job 0 of this sweep, whose result counts."
    assert (sweep / "1" / "skipped.txt").read_text() == f"{told}\n"
    assert [run.status for run in read_runs(sweep)] == [DONE, SKIPPED, DONE, DONE]
    assert capsys.readouterr().out.count(told) == 1


def config(*overrides: str):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", [*overrides, "paths.root_dir=.", "paths.output_dir=/sweep/0"])


def test_what_is_the_same_training() -> None:
    def same(first: list[str], second: list[str]) -> bool:
        folder = Path("/sweep/0")
        return fingerprint(config(*first), folder) == fingerprint(config(*second), folder)

    assert same([], [])
    assert same(["attention=none"], ["attention=none", "placement=several"])
    assert same(["placement=none"], ["placement=none", "attention=itrans"])
    assert same(["attention=none"], ["placement=none"])
    assert same(["optimizer.lr=0.001"], ["optimizer.lr=1e-3"])
    assert not same(["placement=after_actnorm"], ["placement=before_actnorm"])
    assert not same(["attention=none"], ["attention=none", "seed=1"])
    assert not same(["attention=none"], ["attention=none", "model.steps=3"])


def test_the_figure_is_that_of_the_first(tmp_path) -> None:
    for job in "01":
        (tmp_path / job).mkdir()
    given = config("attention=none")
    OmegaConf.update(given, "paths.output_dir", str(tmp_path / "0"))
    assert original_of(given, tmp_path / "0", tmp_path) is None
    assert original_of(given, tmp_path / "0", tmp_path) is None  # started again
    OmegaConf.update(given, "paths.output_dir", str(tmp_path / "1"))
    assert original_of(given, tmp_path / "1", tmp_path) == tmp_path / "0"
    for held, value in (('{"val/bpd": 1.25}', 1.25), ('{"val/bpd": null}', float("inf"))):
        (tmp_path / "0" / "results.json").write_text(held)
        assert skip(tmp_path / "1", tmp_path / "0") == value
    (tmp_path / "0" / "results.json").unlink()  # it failed
    assert skip(tmp_path / "1", tmp_path / "0") == float("inf")


@pytest.mark.slow
def test_a_search_does_not_repeat_a_training(command, tmp_path) -> None:
    sweep = tmp_path / "search"
    options = ["hparams_search=optuna", "hydra.sweeper.n_trials=3", "attention=none"]
    options += ["optimizer.lr=0.001"]
    command("train", *TINY, "test=false", *options, run_dir=sweep)
    assert [(sweep / job / "results.json").exists() for job in "012"] == [True, False, False]
    best = OmegaConf.load(sweep / "optimization_results.yaml")
    assert best.best_value == results(sweep / "0")["val/bpd"]
    told = refused(command, "train", *TINY, *options, "resume=auto", run_dir=sweep)
    assert "expected a new folder, as a search tries other values" in told
