"""Files are whole: before, while and after they are written, whatever goes wrong."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest
from storage import FailingDisk, small_files_only

from attnflow.errors import AttnFlowError
from attnflow.utils.files import WriteError, remove_leftovers, write_whole


def test_text_and_bytes_are_written_into_a_folder_that_is_made(tmp_path) -> None:
    assert write_whole(tmp_path / "a" / "b.txt", "größer").read_bytes() == "größer".encode()
    assert write_whole(tmp_path / "a" / "b.txt", b"\0").read_bytes() == b"\0"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_its_permissions_are_those_of_any_new_file(tmp_path) -> None:
    (tmp_path / "other").write_text("")
    written = write_whole(tmp_path / "file", "x")
    assert written.stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_failed_write_leaves_the_old_file_and_names_it(tmp_path, monkeypatch, number) -> None:
    path = write_whole(tmp_path / "results.json", "old")
    FailingDisk(monkeypatch).fails["results.json"] = number
    with pytest.raises(AttnFlowError) as told:
        write_whole(path, "new")
    assert str(told.value) == f"{path} could not be written: {os.strerror(number)}."
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_the_system_breaks_off(tmp_path) -> None:
    path = write_whole(tmp_path / "picture.png", b"old")
    with small_files_only(1000), pytest.raises(WriteError, match="File too large"):
        write_whole(path, bytes(5000))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["file/inside", "/proc/none/x", "x" * 300, "/dev/null/x"])
def test_where_nothing_can_be_written_is_told_as_well(tmp_path, name) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"could not be written: \w+"):
        write_whole(tmp_path / name, "x")


@pytest.mark.parametrize("when", ["fsync", "replace"])
def test_a_kill_leaves_the_old_file_and_what_it_left_is_removed(tmp_path, monkeypatch, when):
    path = write_whole(tmp_path / "last.ckpt", "old")

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os if when == "fsync" else Path, when, killed)
        with pytest.raises(KeyboardInterrupt):
            write_whole(path, "new")
    assert path.read_text() == "old"
    (left,) = set(tmp_path.iterdir()) - {path}
    remove_leftovers(tmp_path, older_than=60)  # perhaps another process is still writing
    assert left.exists()
    os.utime(left, (time.time() - 61,) * 2)
    remove_leftovers(tmp_path, older_than=60)
    remove_leftovers(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == [path]


def test_only_files_of_its_own_making_are_removed_and_none_through_a_link(tmp_path) -> None:
    folder, link = tmp_path / "theirs", tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("notes.tmp", "last.ckpt.12.tmp", "images.v2.tmp"):
        (folder / name).write_text("theirs")
    link.symlink_to(folder)
    remove_leftovers(link)
    assert len(list(folder.iterdir())) == 3
    remove_leftovers(folder)
    assert {path.name for path in folder.iterdir()} == {"notes.tmp", "images.v2.tmp"}


@pytest.mark.parametrize("hard_links", [True, False])
def test_the_old_file_can_be_kept_under_another_name(tmp_path, monkeypatch, hard_links) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    if not hard_links:
        monkeypatch.setattr(os, "link", refuse)
    path, before = tmp_path / "last.ckpt", tmp_path / "last.previous.ckpt"
    for content in ("1", "2", "3"):
        write_whole(path, content, before)
    assert (path.read_text(), before.read_text()) == ("3", "2")
    assert len(list(tmp_path.iterdir())) == 2
