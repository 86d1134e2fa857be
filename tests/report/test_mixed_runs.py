"""Reports on runs of every kind in one folder, damaged ones among them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from run_folders import Outline, write_curve, write_run
from torchvision.utils import save_image

from attnflow import AttnFlowError
from attnflow.report import charts
from attnflow.report.comparable import comparable
from attnflow.report.runs import (
    DAMAGED,
    DONE,
    FAILED,
    NEVER_STARTED,
    RUNNING,
    SKIPPED,
    UNFINISHED,
    read_run,
    read_runs,
)
from attnflow.report.sweep import Sweep
from attnflow.report.tables import run_table, setting_table
from attnflow.report.write import write_report


def of_data(name: str, **options) -> dict:
    """A config with this data."""
    return {"data": {"_target_": name.title(), "num_workers": 0, **options}}


def digits(folder: Path, bpd: float = 2.0, **settings) -> Path:
    """A finished run on digits."""
    results = {"val/bpd": bpd, "test/bpd": bpd + 0.5, "test/bpd_std_err": 0.25}
    return write_run(folder, results, config=of_data("digits"), data="digits", **settings)


def photos(folder: Path, size: int, bpd: float = 4.0, **settings) -> Path:
    """A finished run on photos."""
    data = of_data("photos", size=size, num_workers=size)
    return write_run(folder, {"val/bpd": bpd}, config=data, data="photos", **settings)


def names(folder: Path) -> list[tuple[str, list[str]]]:
    """The tables and their runs."""
    return [
        (group.name, [run.name for run in group.runs]) for group in comparable(read_runs(folder))
    ]


def test_runs_are_compared_on_the_same_images_alone(tmp_path) -> None:
    digits(tmp_path / "a", attention="imap")
    digits(tmp_path / "b", attention="itrans")
    digits(tmp_path / "c", conditioning="class")
    photos(tmp_path / "d", 16)
    photos(tmp_path / "e", 8)
    part = of_data("digits") | {"trainer": {"limit_test_batches": 2}}
    write_run(tmp_path / "f", {"val/bpd": 1.0}, config=part, data="digits")
    assert names(tmp_path) == [
        ("Trainings on digits", ["a", "b"]),
        ("Trainings on digits given class", ["c"]),
        ("Trainings on digits", ["f"]),
        ("Trainings on photos", ["d"]),
        ("Trainings on photos", ["e"]),
    ]
    html = write_report(tmp_path).read_text()
    words = Outline(html).words
    assert "1 run with data=photos, data.size=16, conditioning=unknown." in words
    assert "conditioning=unknown, trainer.limit_test_batches=2." in words
    assert html.count("<h3>Ranking</h3>") == 5


def test_a_folder_of_images_is_the_same_wherever_it_is_named_from(tmp_path) -> None:
    """References to the folder that the command ran in are followed."""
    data = {"data": {"_target_": "F", "data_dir": "${paths.root_dir}/x"}}
    for name, cwd in (("a", "/one"), ("b", "/one/."), ("c", "/two")):
        run = write_run(
            tmp_path / name,
            {"val/bpd": 2.0},
            config={**data, "paths": {"root_dir": "${hydra:runtime.cwd}"}},
            data="image_folder",
        )
        path = run / ".hydra" / "hydra.yaml"
        held = yaml.safe_load(path.read_text())
        held["hydra"]["runtime"]["cwd"] = cwd
        path.write_text(yaml.safe_dump(held))
    assert [runs for _, runs in names(tmp_path)] == [["a", "b"], ["c"]]


def test_evaluations_are_not_mixed_with_trainings(tmp_path) -> None:
    trained = photos(tmp_path / "trained", 16, optimizer__lr=0.5)
    for name, checkpoint in (("near", trained / "checkpoints"), ("lost", tmp_path / "x" / "y")):
        write_run(
            tmp_path / name,
            {"test/bpd": 3.0, "data": "photos", "conditioning": "none"},
            config={"task_name": "eval", "ckpt_path": f"{checkpoint}/best.ckpt", "data": {}},
        )
    tables = {group.runs[0].name: group for group in comparable(read_runs(tmp_path))}
    assert {name: group.name for name, group in tables.items()} == {
        "trained": "Trainings on photos",
        "near": "Evaluations on photos",
        "lost": "Evaluations on photos",
    }
    assert tables["near"].options["data.size"] == "16"
    assert tables["lost"].options["data options"] == "unknown"


def test_columns_are_those_that_matter(tmp_path) -> None:
    figures = {"val/bpd": 2.0, "test/bpd": 2.5, "test/bpd_std_err": 0.25}
    figures |= {f"test/figure_{number}": 1.0 for number in range(20)}
    for lr in (0.1, 0.2):
        settings = {"optimizer__lr": lr, "paths__data_dir": lr, "callbacks__progress": lr}
        config = {"optimizer": {"lr": lr}, "model": {"levels": 3}, "logger": {"name": lr}}
        write_run(tmp_path / str(lr), figures | {"val/bpd": lr}, config=config, **settings)
    header, rows, _ = setting_table(Sweep(read_runs(tmp_path)))
    assert header == ["optimizer.lr", "runs", "val/bpd", "test/bpd", "params", "images_per_second"]
    assert rows == [
        ["0.1", "1", "0.100", "2.500 ± 0.250", "1,000", "50.0"],
        ["0.2", "1", "0.200", "2.500 ± 0.250", "1,000", "50.0"],
    ]


def test_settings_that_no_column_has_room_for_are_told_in_one(tmp_path) -> None:
    for job in (0, 1):
        settings = {f"model__option_{number}": job + number for number in range(9)}
        digits(tmp_path / str(job), 2.0 + job, **settings)
    header, rows, _ = setting_table(Sweep(read_runs(tmp_path)))
    assert header[:7] == [
        *(f"model.option_{number}" for number in range(5)),
        "other settings",
        "runs",
    ]
    assert rows[0][5] == "model.option_5=5 model.option_6=6 model.option_7=7 model.option_8=8"


def test_the_same_value_written_differently_is_the_same(tmp_path) -> None:
    for name, lr in (("a", "1e-3"), ("b", "0.001")):
        digits(tmp_path / name, optimizer__lr=lr)
        path = tmp_path / name / ".hydra" / "config.yaml"
        path.write_text(yaml.safe_dump(of_data("digits") | {"optimizer": {"lr": 0.001}}))
    assert Sweep(read_runs(tmp_path)).varying == []


def test_what_an_experiment_file_sets_is_seen_and_never_averaged_over(tmp_path) -> None:
    """An option of the composed config differs, and no override says so."""
    for name, size in (("a", 1), ("b", 3), ("c", 3)):
        config = of_data("digits") | {
            "attention": {"kernel": size, "again": "${attention.kernel}"},
            "seed": 7,
        }
        write_run(tmp_path / name, {"val/bpd": size}, config=config, experiment=f"of_{name}")
    found = Sweep(read_runs(tmp_path))
    assert found.varying == ["attention.kernel"]
    assert [len(setting.runs) for setting in found.settings] == [1, 2]


def test_by_groups_the_rows(tmp_path) -> None:
    for job, (attention, lr) in enumerate((("imap", 1), ("imap", 2), ("itrans", 1))):
        digits(tmp_path / str(job), 2.0 + job, attention=attention, optimizer__lr=lr)
    photos(tmp_path / "x", 8)
    write_report(tmp_path, by=["attention"])
    markdown = (tmp_path / "report" / "report.md").read_text()
    assert "| imap | 2 | 2.500 ± 0.707 | 3.000 ± 0.707 |" in markdown
    assert "| itrans | 1 | 4.000 | 4.500 ± 0.250 |" in markdown
    runs = read_runs(tmp_path)
    header, rows, _ = setting_table(Sweep(runs[:3], by=("model.levels", "attention")))
    assert header[:3] == ["model.levels", "attention", "runs"]
    assert [row[:3] for row in rows] == [["2", "imap", "2"], ["2", "itrans", "1"]]


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("atention", "near it are attention."),
        ("lr", "near it are optimizer.lr."),
        ("model", "near it are model.levels."),
        ("", "none is near it."),
        ("zzz", "none is near it."),
    ],
)
def test_an_unknown_setting_is_refused_with_those_near_it(tmp_path, key, near) -> None:
    digits(tmp_path / "a", optimizer__lr=1)
    with pytest.raises(AttnFlowError) as told:
        write_report(tmp_path, by=[key])
    assert str(told.value).startswith(
        f"by: expected settings of these runs, as attention or model.levels, got {key!r}; "
    )
    assert near in str(told.value)
    assert not (tmp_path / "report").exists()


def test_a_metric_that_some_tables_lack(tmp_path) -> None:
    """Tables without it are sorted by what they have, and say so; more PSNR is better."""
    for name, psnr in (("a", 10.0), ("b", 30.0), ("c", 20.0)):
        results = {"val/bpd": psnr, "test/psnr_mean": psnr}
        write_run(tmp_path / name, results, config=of_data("maps"), data="maps", seed=psnr)
    digits(tmp_path / "d")
    runs = read_runs(tmp_path)
    assert [run.name for run in Sweep(runs[:3], "test/psnr_mean").ranked] == ["b", "c", "a"]
    words = Outline(write_report(tmp_path, "test/psnr_mean").read_text()).words
    assert "No run of these has test/psnr_mean. By val/bpd, best first." in words


MULTIRUN = {
    "hydra": {
        "sweep": {"subdir": "${hydra:job.num}"},
        "sweeper": {"params": {"optimizer.lr": "1,2"}},
        "overrides": {"task": ["model.levels=1", "attention=imap,itrans", "seed=range(2)"]},
    }
}


def test_jobs_that_a_sweep_announced_and_never_started(tmp_path) -> None:
    (tmp_path / "multirun.yaml").write_text(yaml.safe_dump(MULTIRUN))
    digits(tmp_path / "0", optimizer__lr=1, attention="imap", seed=0)
    (tmp_path / "1").mkdir()  # made, and ended before Hydra wrote to it
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "train.log").write_text("")
    runs = {run.name: run for run in read_runs(tmp_path)}
    assert list(runs) == [str(job) for job in range(8)]
    assert [run.status for run in runs.values()] == [DONE] + [NEVER_STARTED] * 7
    assert runs["6"].overrides == {
        "optimizer.lr": "2",
        "model.levels": "1",
        "attention": "itrans",
        "seed": "0",
    }
    html = write_report(tmp_path).read_text()
    assert "8 runs: 1 done, 7 never started" in Outline(html).words
    assert 'href="../7/"' not in html


def test_trials_that_a_search_announced(tmp_path) -> None:
    digits(tmp_path / "0")
    path = tmp_path / "0" / ".hydra" / "hydra.yaml"
    held = yaml.safe_load(path.read_text())
    held["hydra"]["sweeper"] = {"n_trials": 3, "sampler": {"_target_": "optuna.TPESampler"}}
    path.write_text(yaml.safe_dump(held))
    assert [run.status for run in read_runs(tmp_path)] == [DONE, NEVER_STARTED, NEVER_STARTED]


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "hydra: 3",
        "",
        yaml.safe_dump(MULTIRUN).replace("range(2)", "range("),
        yaml.safe_dump(MULTIRUN).replace("range(2)", "glob(*)"),
        yaml.safe_dump(MULTIRUN).replace("job.num", "job.override_dirname"),
    ],
)
def test_a_sweep_whose_record_is_damaged_announces_nothing(tmp_path, text) -> None:
    (tmp_path / "multirun.yaml").write_text(text)
    digits(tmp_path / "0")
    assert [run.name for run in read_runs(tmp_path)] == ["0"]


def test_a_sweep_of_endless_jobs_is_cut(tmp_path) -> None:
    text = yaml.safe_dump(MULTIRUN).replace("range(2)", "range(1000000000)")
    (tmp_path / "multirun.yaml").write_text(text)
    assert len(read_runs(tmp_path)) == 10_000


def test_runs_that_left_no_results_are_told_apart(tmp_path) -> None:
    for name in ("early", "later", "running", "skipped"):
        write_run(tmp_path / name)
    (tmp_path / "later" / "checkpoints").mkdir()
    (tmp_path / "later" / "checkpoints" / "last.ckpt").touch()
    write_curve(tmp_path / "later", 3.0)
    (tmp_path / "skipped" / "skipped.txt").write_text("the same as job 2\n")
    code = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX);"
        "print('held', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "running" / ".lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        runs = {run.name: run for run in read_runs(tmp_path)}
        holder.kill()
    told = {name: (run.status, run.note.split(";")[0]) for name, run in runs.items()}
    none = "no results.json: "
    assert told == {
        "early": (UNFINISHED, f"{none}stopped before its first checkpoint, or still starting"),
        "later": (UNFINISHED, f"{none}stopped, or still training"),
        "running": (RUNNING, f"{none}still running"),
        "skipped": (SKIPPED, "the same as job 2"),
    }
    assert re.search(r"at step 10 .* was 3\.000; last written \d seconds ago", runs["later"].note)
    assert read_run(tmp_path / "running", tmp_path).status == UNFINISHED


DAMAGE = {
    "csv/version_0/metrics.csv": b"\xff\x00",
    "csv/version_3/metrics.csv": b"step,val/bpd\n1,low\n",
    "csv/metrics.csv": b"step,val/bpd\n1,2.",
    "results.json": b'{"val/bpd": NaN}',
    ".hydra/config.yaml": b"a: [",
    ".hydra/hydra.yaml": b"hydra: !!python/object/apply:os.getcwd []",
    ".hydra/overrides.yaml": b"seed: 1",
    "environment.json": b"[1]",
    "samples/final.png": b"\x89PNG\r\n\x1a\n",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_named_and_the_other_runs_are_compared(tmp_path, name, caplog) -> None:
    for run in ("good", "other"):
        digits(tmp_path / run, attention=run)
    path = digits(tmp_path / "bad", 1.0) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(DAMAGE[name])
    run = read_runs(tmp_path)[0]
    assert (run.name, run.status) == ("bad", DAMAGED)
    assert run.note.startswith(f"{name}: expected ")
    assert "\n" not in run.note
    words = Outline(write_report(tmp_path).read_text()).words
    assert "3 runs: 2 done, 1 damaged" in words
    assert run.note in words
    assert caplog.messages == [f"run bad is damaged: {run.note}"]
    lost = name in ("results.json", ".hydra/config.yaml")
    assert bool(run.figures) == (name != "results.json")  # figures that can be read are kept ...
    with (tmp_path / "report" / "report.md").open() as file:
        assert (
            "| 1.000 | 1.500 ± 0.250 |" in file.read()
        ) != lost  # ... and compared, if with what


def test_a_picture_that_breaks_off_is_left_out(tmp_path) -> None:
    run = digits(tmp_path / "a")
    path = run / "samples" / "final.png"
    path.parent.mkdir()
    save_image(torch.rand(3, 32, 32), path)
    assert read_run(run, tmp_path).pictures == [path]
    path.write_bytes(path.read_bytes()[:-20])
    assert read_run(run, tmp_path).pictures == []
    assert read_run(run, tmp_path).note.startswith(f"samples{os.sep}final.png: expected a PNG")


def test_results_without_a_config_are_apart(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "results.json").write_text('{"val/bpd": 1.0, "data": "digits"}')
    run = read_runs(tmp_path)[0]
    assert run.note == ".hydra/config.yaml: expected the run's config, got no such file."
    assert "No run has figures to compare." in Outline(write_report(tmp_path).read_text()).words


@pytest.fixture
def nobody(tmp_path) -> Iterator[None]:
    """Root may read everything; another user may not."""
    user = os.geteuid()
    if user == 0:
        for folder in (tmp_path, *tmp_path.parents[:3]):
            folder.chmod(0o755)
        os.seteuid(65534)
    yield
    os.seteuid(user)
    for folder in tmp_path.iterdir():
        folder.chmod(0o755)


def test_a_folder_without_permission(tmp_path, request) -> None:
    digits(tmp_path / "good")
    for name, mode in (("closed", 0o000), ("listed", 0o444), ("file", 0o755)):
        digits(tmp_path / name)
        (tmp_path / name / "results.json").chmod(0o000 if name == "file" else 0o644)
        (tmp_path / name).chmod(mode)
    request.getfixturevalue("nobody")
    runs = {run.name: run for run in read_runs(tmp_path)}
    assert {name: run.status for name, run in runs.items()} == {
        "closed": DAMAGED,
        "file": DAMAGED,
        "good": DONE,
        "listed": DAMAGED,
    }
    for name in ("closed", "file", "listed"):
        assert "Permission denied" in runs[name].note, name


def test_links_are_followed_but_not_in_a_circle(tmp_path) -> None:
    elsewhere = digits(tmp_path / "elsewhere" / "run")
    folder = tmp_path / "runs"
    digits(folder / "a")
    (folder / "linked").symlink_to(elsewhere)
    (folder / "again").symlink_to(folder / "a")
    (folder / "circle").symlink_to(folder)
    (folder / "itself").symlink_to(folder / "itself")
    (folder / "nowhere").symlink_to(folder / "missing")
    assert [run.name for run in read_runs(folder)] == ["a", "linked"]


def test_what_was_put_aside_is_not_compared(tmp_path) -> None:
    digits(tmp_path / "0")
    digits(tmp_path / "overwritten" / "0")
    digits(tmp_path / ".trash" / "0")
    assert [run.name for run in read_runs(tmp_path)] == ["0"]


def test_whatever_files_hold_is_text_in_the_page(tmp_path) -> None:
    evil = "<script>alert('1')</script>"
    for folder in (evil.replace("/", ":"), "a\nb|c", b"\xff\xfe".decode(errors="surrogateescape")):
        run = digits(tmp_path / folder, attention=f"$\\frac{folder[:1]}", optimizer__lr=evil)
        write_curve(run, 3.0, 2.0)
        (run / "environment.json").write_text(json.dumps({evil: evil}))
    write_run(tmp_path / "failed", error=evil * 50, seed=evil)
    (digits(tmp_path / "damaged") / "results.json").write_text(f'"{evil}"')
    path = write_report(tmp_path)
    html = path.read_text()
    assert "script" not in Outline(html).tags
    assert "<script" not in html
    assert "<script" not in (path.parent / "report.md").read_text()
    assert "attention" in html


def test_numbers_of_any_size_fit(tmp_path) -> None:
    for name, bpd in (("a", 1e300), ("b", -1e300), ("c", 1e-300), ("d", 0)):
        digits(tmp_path / name, bpd, attention=name)
    write_report(tmp_path)
    _, rows, _ = run_table(Sweep(read_runs(tmp_path)))
    assert [row[2] for row in rows] == ["-1e+300", "0", "1.0e-300", "1e+300"]


def test_the_report_of_a_run_lies_beside_it(tmp_path) -> None:
    run = digits(tmp_path / "a")
    before = sorted(run.rglob("*"))
    path = write_report(run)
    assert path == tmp_path / "a_report" / "index.html"
    assert sorted(run.rglob("*")) == before
    digits(tmp_path / "report")
    with pytest.raises(AttnFlowError, match="expected a folder for the report, got a run's"):
        write_report(tmp_path)


def test_a_report_that_cannot_be_written_leaves_the_last_one(tmp_path, monkeypatch) -> None:
    digits(tmp_path / "a")
    path = write_report(tmp_path)
    before = path.read_bytes()
    digits(tmp_path / "b")

    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AttnFlowError, match="could not be written: No space left on device"):
        write_report(tmp_path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "report").touch()
    digits(tmp_path / "c" / "run")
    with pytest.raises(AttnFlowError, match="could not be written: File exists"):
        write_report(tmp_path / "c")


def test_a_chart_that_fails_is_left_out(tmp_path, monkeypatch, caplog) -> None:
    for job in (0, 1):
        write_curve(digits(tmp_path / str(job), 2.0 + job, attention=job), 3.0, 2.0)
    monkeypatch.setattr(charts, "trade_off", lambda _: 1 / 0)
    html = write_report(tmp_path).read_text()
    assert Outline(html).tags.count("svg") == 4
    assert caplog.messages == ["chart trade_off is left out: ZeroDivisionError: division by zero"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "folder nowhere does not exist; "),
        (["file"], "folder file is a file; "),
        (["empty"], "folder empty holds no run "),
        (["x" * 300], "File name too long"),
        (["runs", "--metric", "test/fid"], "metric is 'test/fid', which no finished run has; "),
        (["runs", "--by", "a,,b"], "by: expected settings of these runs, "),
        (["runs", "--pictures", "-1"], "pictures: expected 0 or more, got -1."),
    ],
)
def test_what_a_user_types_wrong_is_told_in_a_sentence(tmp_path, arguments, sentence) -> None:
    digits(tmp_path / "runs" / "a")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "attnflow.report", *arguments]
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert told.returncode == 1
    assert told.stderr.startswith("error: ")
    assert sentence in told.stderr
    assert told.stderr.count("\n") == 1


def test_a_training_that_fails_says_so_until_it_succeeds(train, tmp_path) -> None:
    """A single run; what a resumed one is refused for leaves the finished run as it is."""
    run_dir = tmp_path / "runs" / "a"
    with pytest.raises(SystemExit, match="got 9"):
        train("model.levels=9", run_dir=run_dir)
    run = read_run(run_dir, tmp_path)
    assert run.status == FAILED
    assert "got 9" in run.note
    train("debug=fast", run_dir=run_dir)
    assert read_run(run_dir, tmp_path).status == DONE
    with pytest.raises(SystemExit):
        train("resume=auto", "model.levels=9", run_dir=run_dir)
    assert read_run(run_dir, tmp_path).status == DONE
