"""A folder of its own for every run: never that of another, whatever the timing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, TINY, results, run_script
from hydra import compose, initialize_config_dir
from omegaconf import open_dict
from refusals import refused
from runs import content, last

from attnflow.cli import launch
from attnflow.cli.run_folder import named_folder, new_folder
from attnflow.errors import AttnFlowError
from attnflow.runs.folder_lock import lock_folder, release_folder


def test_a_time_that_is_taken_gets_a_number(tmp_path) -> None:
    wanted = tmp_path / "runs" / "now"
    assert [new_folder(wanted).name for _ in range(3)] == ["now", "now_2", "now_3"]


@pytest.mark.slow
def test_two_trainings_of_one_second_have_a_folder_each(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    name = "hydra.run.dir='runs/${now:%Y}'"
    for seed in (1, 2):
        run_script(monkeypatch, "train", *TINY, name, f"seed={seed}", "test=false")
    first, second = sorted(Path("runs").iterdir())
    assert (second.name, results(first)["seed"]) == (f"{first.name}_2", 1)
    assert results(second)["seed"] == 2
    for folder in (first, second):
        assert last(folder)["attnflow"]["config"]["seed"] == results(folder)["seed"]


@pytest.mark.slow
def test_two_sweeps_of_one_second_have_a_folder_each(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    name = "hydra.sweep.dir='it''s a ${now:%Y} of \"sweeps\", a=b'".replace("''", "\\'")
    for seed in (1, 2):
        run_script(monkeypatch, "train", "-m", *TINY, name, f"seed={seed}", "test=false")
    first, second = sorted(Path().glob("it's*"))
    assert (results(first / "0")["seed"], results(second / "0")["seed"]) == (1, 2)
    assert second.name == f"{first.name}_2"


@pytest.mark.parametrize("asked", [["--cfg", "job"], ["--help"], ["--info", "defaults"]])
def test_questions_make_no_folder(monkeypatch, tmp_path, asked, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    run_script(monkeypatch, "train", *asked)
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_not_overwritten_unless_meant(train, command, tmp_path) -> None:
    run_dir = train(*TINY)
    (run_dir / "notes.txt").write_text("mine")
    before = content(run_dir)
    told = refused(train, *TINY, "seed=1", run_dir=run_dir)
    assert f"hydra.run.dir: expected a folder without a run, got {run_dir}, which holds" in told
    assert "resume=auto" in told
    assert "overwrite=true" in told
    # An evaluation, of this very run, is another run; and a folder below belongs to it.
    evaluate = ["eval", f"ckpt_path={run_dir}/checkpoints/best.ckpt"]
    assert "holds results.json" in refused(command, *evaluate, run_dir=run_dir)
    assert "starts from what lies in" in refused(
        command, *evaluate, "overwrite=true", run_dir=run_dir
    )
    assert "expected a folder outside of other runs" in refused(
        train, *TINY, run_dir=run_dir / "samples" / "new"
    )
    assert content(run_dir) == before

    train(*TINY, "seed=1", "overwrite=true", run_dir=run_dir)
    assert results(run_dir)["seed"] == 1
    aside = run_dir / "overwritten"
    assert results(aside)["seed"] == 0
    after = content(aside)
    assert after == {name: held for name, held in before.items() if name in after}
    assert before.keys() - after.keys() == {"notes.txt"}
    assert (run_dir / "notes.txt").read_text() == "mine"
    assert len(list((run_dir / "csv").iterdir())) == 1


@pytest.mark.parametrize(
    "option", ["optimizer.lr=fast", "model.levels=9", "scheduler.warmup_steps=-1", "seed=-1"]
)
def test_a_start_that_is_refused_overwrites_nothing(train, command, capsys, option) -> None:
    run_dir = train(*TINY, "test=false")
    (run_dir / "notes.txt").write_text("mine")
    before = content(run_dir)
    refused(train, *TINY, "overwrite=true", option, run_dir=run_dir)
    assert f"lies in {run_dir} again" in capsys.readouterr().out
    assert content(run_dir) == before
    told = refused(command, "eval", "ckpt_path=no.ckpt", "overwrite=true", run_dir=run_dir)
    assert "no.ckpt" in told
    assert content(run_dir) == before


def test_a_training_that_has_begun_keeps_its_place(train, monkeypatch) -> None:
    """What it has written stays beside the sentence of its end."""
    run_dir = train(*TINY, "test=false")
    monkeypatch.setattr("attnflow.cli.train.check_finite", raise_no_figures)
    told = refused(train, *TINY, "test=false", "overwrite=true", "seed=1", run_dir=run_dir)
    assert (run_dir / "error.txt").read_text() in told
    assert (results(run_dir)["seed"], results(run_dir / "overwritten")["seed"]) == (1, 0)


def raise_no_figures(results: object) -> None:
    raise AttnFlowError("no figures.")


def test_overwriting_what_is_started_from_is_refused(train) -> None:
    run_dir = train(*TINY, "test=false")
    before = content(run_dir)
    for source in ("auto", run_dir, run_dir / "checkpoints" / "best.ckpt"):
        told = refused(train, *TINY, "overwrite=true", f"resume={source}", run_dir=run_dir)
        assert f"overwrite: expected false, as resume={source}" in told
    assert "overwrite" in refused(train, *TINY, "overwrite=maybe", run_dir=run_dir)
    assert content(run_dir) == before


PLACES = ("paths.output_dir", "callbacks.checkpoint.dirpath", "callbacks.last.directory")


@pytest.mark.parametrize("option", [*PLACES, "callbacks.pictures.directory", "logger.csv.save_dir"])
def test_no_option_has_a_run_write_into_another_ones_folder(train, tmp_path, option) -> None:
    other, own = tmp_path / "other", tmp_path / "own"
    (other / "checkpoints").mkdir(parents=True)
    (other / "checkpoints" / "best.ckpt").write_text("the other's")
    before = content(other)
    for place in (other, other / "checkpoints", f"{own}/../other"):
        told = refused(train, *TINY, f"{option}={place}", run_dir=own)
        assert f"{option}: expected a place in the run's own folder, {own}, " in told
        assert told.endswith(f"got {place}.")
        assert content(other) == before


@pytest.mark.parametrize(
    "option",
    [
        "logger.csv.name",
        "logger.tensorboard.name",
        "+logger.tensorboard.version",
        "+logger.tensorboard.sub_dir",
        "callbacks.checkpoint.filename",
    ],
)
def test_no_name_leads_out_of_a_runs_folder(train, tmp_path, option) -> None:
    own = tmp_path / "own"
    for name in ("../../../../other", f"{tmp_path}/other"):
        told = refused(train, *TINY, "logger=tensorboard", f"{option}={name}", run_dir=own)
        assert f"{option.lstrip('+')}: expected a place in the run's own folder, {own}, " in told
        assert not (tmp_path / "other").exists()


def test_a_run_may_write_anywhere_in_its_own_folder(train, tmp_path) -> None:
    own = tmp_path / "own"
    kept = f"callbacks.checkpoint.dirpath={own}/kept"
    train(*TINY, "test=false", kept, run_dir=own)
    assert (own / "kept" / "best.ckpt").is_file()


def test_a_start_that_came_to_nothing_is_no_run(train) -> None:
    """A slip in the options can be mended in the same folder."""
    run_dir = train(*TINY, "test=false").with_name("mended")
    assert "levels" in refused(train, *TINY, "model.levels=9", run_dir=run_dir)
    train(*TINY, "test=false", run_dir=run_dir)
    assert results(run_dir)["val/bpd"] > 0


def test_files_that_are_no_run_stay(train, tmp_path) -> None:
    run_dir = tmp_path / "mine"
    run_dir.mkdir()
    (run_dir / "notes.txt").write_text("mine")
    train(*TINY, "test=false", run_dir=run_dir)
    assert (run_dir / "notes.txt").read_text() == "mine"


def test_no_folder_can_be_there(train, tmp_path) -> None:
    (tmp_path / "file").write_text("mine")
    for run_dir in (tmp_path / "file", tmp_path / "file" / "run"):
        told = refused(train, *TINY, run_dir=run_dir)
        assert f"that can be written to, got {run_dir} (" in told
    assert (tmp_path / "file").read_text() == "mine"
    assert "hydra.run.dir: expected a folder, got ''" in refused(train, *TINY, run_dir="''")


@pytest.mark.slow
def test_home_and_relative_folders_are_what_they_say(monkeypatch, tmp_path) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    for name in ("'~/run'", "../there/run", "hidden"):
        options = [f"hydra.run.dir={name}", "hydra.job.chdir=true", "hydra.output_subdir=null"]
        run_script(monkeypatch, "train", *TINY, "test=false", *options)
    for folder in (home / "run", tmp_path / "there" / "run", here / "hidden"):
        assert results(folder)["val/bpd"] > 0
    assert sorted(path.name for path in here.iterdir()) == ["hidden"]


def test_a_folder_that_another_process_writes_to_is_refused(train, tmp_path) -> None:
    run_dir = tmp_path / "busy"
    run_dir.mkdir()
    holding = (
        "import sys, time; from pathlib import Path; from attnflow.runs.folder_lock import *;"
        "lock_folder(Path(sys.argv[1]), 'x'); print('held', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", holding, run_dir], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        for options in ([], ["resume=auto"], ["overwrite=true"]):
            told = refused(train, *TINY, *options, run_dir=run_dir)
            assert f"which process {holder.pid} on" in told
        assert sorted(path.name for path in run_dir.iterdir()) == [".lock"]
    finally:
        holder.kill()
        holder.wait()
    lock_folder(run_dir, "hydra.run.dir")  # a kill has released it
    release_folder(run_dir)


@pytest.mark.slow
def test_the_lock_is_not_inherited(tmp_path) -> None:
    """Data-loader workers that outlive a killed training for a moment don't hold its folder."""
    lock_folder(tmp_path, "hydra.run.dir")
    child = os.fork()
    if child == 0:
        try:
            lock_folder(tmp_path / ".." / tmp_path.name, "x")  # believes to hold it
            release_folder(tmp_path)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    lock = f"lock_folder(Path({str(tmp_path)!r}), 'x')"
    other = f"from pathlib import Path; from attnflow.runs.folder_lock import lock_folder; {lock}"
    for status in (1, 0):
        run = subprocess.run([sys.executable, "-c", other], capture_output=True, check=False)
        assert run.returncode == status
        release_folder(tmp_path)


def test_a_link_to_a_runs_folder_is_that_folder(train, tmp_path) -> None:
    run_dir = train(*TINY, "test=false")
    link = tmp_path / "link"
    link.symlink_to(run_dir)
    more = ["test=false", "trainer.max_epochs=2"]
    train(*TINY, *more, f"resume={run_dir}", run_dir=link)
    train(*TINY, "test=false", "trainer.max_epochs=3", f"resume={link}", run_dir=run_dir)
    assert results(run_dir)["epochs"] == 3
    told = refused(train, *TINY, "overwrite=true", f"resume={link}", run_dir=run_dir)
    assert "starts from what lies in" in told
    assert "outside of other runs" in refused(train, *TINY, run_dir=link / "samples" / "new")


def test_a_sweep_inside_a_run_is_refused(train, command) -> None:
    run_dir = train(*TINY, "test=false")
    before = content(run_dir)
    for folder in (run_dir / "sweep", run_dir / "checkpoints" / "sweep"):
        told = refused(command, "train", "-m", *TINY, "seed=1,2", run_dir=folder)
        assert "hydra.sweep.dir: expected a folder outside of other runs" in told
    assert content(run_dir) == before


@pytest.fixture
def two_ranks(monkeypatch):
    """A config of two ranks, and no trace of a launcher around."""
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", ["trainer=ddp_cpu", "paths.output_dir=."])


def test_one_of_a_runs_processes_makes_its_folder(two_ranks, monkeypatch) -> None:
    assert launch.is_first(two_ranks)  # whose ranks are its own children
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, first in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        assert launch.is_first(two_ranks) is first
    monkeypatch.delenv("RANK")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    for rank, first in (("0", True), ("1", False)):
        monkeypatch.setenv("SLURM_PROCID", rank)
        assert launch.is_first(two_ranks) is first
    two_ranks.trainer.update(devices=1, strategy=None)
    assert launch.is_first(two_ranks)  # tasks that train on their own


def test_nodes_need_a_common_name(train, monkeypatch, tmp_path) -> None:
    options = ["trainer=ddp_cpu", "trainer.num_nodes=2"]
    told = refused(train, *TINY, *options, run_dir=f"'{tmp_path}/${{now:%Y}}'")
    assert "hydra.run.dir: expected the same folder on each of trainer.num_nodes=2" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_torchruns_processes_share_a_folder(tmp_path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [str(ROOT / "train.py"), *TINY, "trainer=ddp_cpu", "test=false"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    (folder,) = (tmp_path / "logs" / "train" / "runs").iterdir()
    assert results(folder)["steps"] == 3
    assert last(folder)["global_step"] == 3


def test_slurms_tasks_share_a_folder_named_after_the_job(two_ranks, monkeypatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_JOB_ID", "71")
    monkeypatch.setenv("SLURM_STEP_ID", "3")
    with open_dict(two_ranks):
        two_ranks.hydra = {"run": {"dir": "logs/${now:%Y}"}}
    assert named_folder(two_ranks, "hydra.run.dir") == Path.cwd() / "logs" / "slurm_71_3"
