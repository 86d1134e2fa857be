"""A folder's lock: one process at a time, and no trace of it afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from attnflow.errors import AttnFlowError
from attnflow.runs import folder_lock
from attnflow.runs.folder_lock import LOCK, is_held, lock_folder, release_folder, wait_for_folder


def test_a_released_folder_holds_no_trace_of_the_machine(tmp_path) -> None:
    lock_folder(tmp_path, "out")
    assert f"process {os.getpid()} on " in (tmp_path / LOCK).read_text()
    release_folder(tmp_path)
    assert not list(tmp_path.iterdir())
    assert not is_held(tmp_path)
    wait_for_folder(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_lock_that_was_released_while_it_was_opened_is_taken_anew(tmp_path, monkeypatch) -> None:
    """Or two processes would hold one folder: the one the removed file, the other a new one."""
    opened = folder_lock._open

    def opened_late(folder: Path) -> int:
        descriptor = opened(folder)
        if not calls:
            (folder / LOCK).unlink()  # by the process that held it
        calls.append(folder)
        return descriptor

    calls: list[Path] = []
    monkeypatch.setattr(folder_lock, "_open", opened_late)
    lock_folder(tmp_path, "out")
    assert len(calls) == 2
    assert (tmp_path / LOCK).read_text()
    release_folder(tmp_path)


def test_a_lock_that_is_a_link_is_refused_and_leads_nowhere(tmp_path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / LOCK).symlink_to(tmp_path / "victim")
    told = f"out: expected a folder with a lock of its own, got {tmp_path}, whose .lock is a link"
    with pytest.raises(AttnFlowError, match=told):
        lock_folder(tmp_path, "out")
    assert not is_held(tmp_path)
    wait_for_folder(tmp_path)
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_lock_that_is_a_pipe_is_refused_and_not_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / LOCK)
    with pytest.raises(AttnFlowError, match=r"whose \.lock is no file"):
        lock_folder(tmp_path, "out")
    assert not is_held(tmp_path)
    wait_for_folder(tmp_path)
