"""What is told in a sentence before Hydra would tell it in its own way."""

from __future__ import annotations

import resource

import pytest
from conftest import ROOT, run_script
from omegaconf import OmegaConf

from attnflow.cli.slips import check_slips
from attnflow.runs.hydra_records import check_room
from attnflow.utils.files import WriteError


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("callbacks=null", "callbacks: expected one of default, "),
        ("experiment=digits_imap", "as in experiment=digits attention=imap, got digits_imap."),
        ("experiment=maps_none,maps_imap", "as in experiment=maps attention=none, got maps_none,"),
        ("hydra.run.dir=null", "hydra.run.dir: expected a folder, got null."),
        ("hydra.sweep.dir=null", "hydra.sweep.dir: expected a folder, got null."),
        ("data.data_dir=~/pics", "as in \"data.data_dir='~/pics'\", got ~/pics."),
        ("resume=~", "resume: expected a path with ~ in quotes"),
    ],
)
@pytest.mark.parametrize("script", ["train", "eval"])
def test_a_slip_is_told_in_a_sentence(monkeypatch, tmp_path, script, argument, told) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run_script(monkeypatch, script, argument)
    sentence = str(stopped.value.code)
    assert sentence.startswith("error: ")
    assert told in sentence
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_slip_passes() -> None:
    arguments = ["-m", "resume=null", "~callbacks", "data.data_dir='~/pics'", "--cfg", "job"]
    check_slips([*arguments, "attention=none", "callbacks.last=null"], ROOT / "conf")
    check_slips(["experiment=digits_class", "experiment=mine_imap"], ROOT / "conf")
    check_slips(["--config-dir=mine", "experiment=digits_imap"], ROOT / "conf")


def test_a_full_disk_is_told_before_hydra_writes(tmp_path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(WriteError, match="could not be written: File too large"):
            check_room(tmp_path, OmegaConf.create({"task_name": "x" * 200}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    check_room(tmp_path, OmegaConf.create({"task_name": "x" * 200}))
    assert list(tmp_path.iterdir()) == []
