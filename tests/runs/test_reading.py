"""Records that runs left on the disk, whole and damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from attnflow import AttnFlowError
from attnflow.runs.reading import read_json, read_text, read_yaml
from attnflow.runs.results import read_curve, read_results, write_results

GOOD = b"epoch,step,val/bpd\r\n0,10,3.5\r\n1,20,3.25\r\n"


def write_logged(run_dir: Path, content: bytes, folder: str = "csv/version_0") -> Path:
    path = run_dir / folder / "metrics.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("folder", ["csv/version_0", "csv", "."])
def test_every_layout_of_the_logged_figures_is_read(tmp_path, folder) -> None:
    write_logged(tmp_path, GOOD, folder)
    assert read_curve(tmp_path, "val/bpd") == ([10, 20], [3.5, 3.25])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "a header without step, ''"),
        (b"\x89PNG\r\n\x1a\n\xff", "the byte 0x89, which is no UTF-8"),
        (b"a,b\n1,2\n", "a header without step, 'a,b'"),
        (GOOD[:-3], "line 3, which breaks off"),
        (GOOD.replace(b"3.5", b"3\x005"), "a NUL byte in line 2"),
        (GOOD.replace(b"3.5", b"three"), "'three' under val/bpd in line 2"),
        (GOOD.replace(b"1,20", b"x,20"), "'x' under epoch in line 3"),
        (GOOD.replace(b"10", b"1.5"), "no whole step in line 2"),
        (GOOD.replace(b"10", b""), "no whole step in line 2"),
        (GOOD.replace(b",3.5", b""), "2 cells under a header of 3 in line 2"),
        (GOOD.replace(b"3.5", b'"3.5'), "unexpected end of data"),
        (GOOD.replace(b"3.5", b"3" * 2**20), "line 2, which breaks off"),
    ],
)
def test_garbled_figures_are_named_with_their_place(tmp_path, content, why) -> None:
    path = write_logged(tmp_path, content)
    with pytest.raises(AttnFlowError) as told:
        read_curve(tmp_path, "val/bpd")
    assert str(told.value) == f"{path}: expected a table of numbers, got {why}."


def test_a_leg_undoes_what_an_earlier_one_logged_after_its_checkpoint(tmp_path) -> None:
    write_logged(tmp_path, b"step,val/bpd\n10,4.0\n20,3.0\n30,2.0\n", "csv/version_9")
    write_logged(tmp_path, b"step,val/bpd\n15,\n25,3.5\n", "csv/version_10")
    assert read_curve(tmp_path, "val/bpd") == ([10, 25], [4.0, 3.5])
    write_logged(tmp_path, b"step,val/bpd\n10,5.0\n", "csv")  # one history of all legs
    assert read_curve(tmp_path, "val/bpd") == ([10], [5.0])


def test_results_come_back_as_they_were_written(tmp_path) -> None:
    written = {"val/bpd": 2.5, "test/bpd": float("inf"), "params": 7, "data": "digits"}
    write_results(tmp_path, written)
    assert read_results(tmp_path) == written | {"test/bpd": None}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected JSON, got 'Expecting value: line 1 column 1 (char 0)'"),
        ('{"val/bpd": 2.', "expected JSON, got"),
        ("[" * 100_000, "expected JSON, got"),
        ("[1, 2]", "expected names with their numbers, got [1, 2]"),
        ('{"val/bpd": "low"}', "val/bpd: expected a number, got 'low'"),
        ('{"params": true}', "params: expected a number, got True"),
        ('{"test/bpd": [2.5]}', "test/bpd: expected a number, got [2.5]"),
        ('{"data": {"a": 1}}', "data: expected a number, got {'a': 1}"),
        ('{"val/bpd": NaN}', "expected JSON, got 'NaN, which is no number of JSON's'"),
        ('{"val/bpd": 1e999}', "val/bpd: expected a number, got inf"),
        ('{"params": 1' + "0" * 400 + "}", "params: expected a number, got 1000"),
    ],
)
def test_damaged_results_are_named(tmp_path, text, why) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(AttnFlowError) as told:
        read_results(tmp_path)
    assert str(told.value).startswith(f"{path}: {why}")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: !!python/object/apply:pathlib.Path.touch [{}]",
        "a: !!python/name:os.system",
        "a: &b [1]\nc: *b",
        "a: &a [*a]",
        "a: 2020-13-45",
        "a\x00b",
    ],
)
def test_yaml_is_plain_values_or_refused(tmp_path, text) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text.replace("{}", str(tmp_path / "touched")))
    with pytest.raises(AttnFlowError, match=r"config\.yaml: expected plain YAML, got '"):
        read_yaml(path)
    assert not (tmp_path / "touched").exists()


def test_what_is_no_small_file_is_not_read(tmp_path) -> None:
    pipe, folder, huge = tmp_path / "pipe", tmp_path / "folder", tmp_path / "huge"
    os.mkfifo(pipe)
    folder.mkdir()
    with huge.open("wb") as file:
        file.truncate(2**40)  # takes no room
    for path, got in ((pipe, "something else"), (folder, "something else"), (huge, "1,099,511")):
        with pytest.raises(AttnFlowError, match=rf"{path.name}: expected .* got {got}"):
            read_text(path)
    with pytest.raises(AttnFlowError, match=r"nowhere: .*'No such file or directory'"):
        read_json(tmp_path / "nowhere")
