"""``attnflow COMMAND``: its help, its completion, and a user's own configs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import ROOT
from run_folders import write_run

from attnflow.__main__ import main
from attnflow.cli.command import COMMANDS
from attnflow.cli.configs import config_folder, own_folder, with_own_folder
from attnflow.cli.described import Option, first_sentence, options_of
from attnflow.cli.help import groups_of


@pytest.fixture
def attnflow(monkeypatch, capsys):
    """Runs the command in this process; returns what it printed, or said as it ended."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["attnflow", *arguments])
        try:
            main()
        except SystemExit as stopped:
            if isinstance(stopped.code, str):
                return stopped.code
        return capsys.readouterr().out

    return run


def test_the_commands_are_listed(attnflow) -> None:
    for told in (attnflow(), attnflow("--help")):
        assert all(f"  {c.name:<9}{c.about}" in told for c in COMMANDS.values())
    told = attnflow("trian", "data=digits")
    assert told == f"error: expected one of the commands {', '.join(COMMANDS)}, got trian."


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_every_choice_and_option_of_a_command(attnflow, name) -> None:
    told = attnflow(name, "--help")
    primary = ROOT / "conf" / f"{name}.yaml"
    for group, _ in groups_of(primary):
        for path in (ROOT / "conf" / group).glob("*.yaml"):
            assert f"\n  {path.stem}" in told
            assert first_sentence(path), path
    assert all(f"\n  {option.key}" in told for option in options_of(primary))


def test_help_lists_only_what_an_evaluation_takes() -> None:
    groups = [group for group, _ in groups_of(ROOT / "conf" / "eval.yaml")]
    assert groups == ["data", "trainer", "metrics", "logger"]


def test_options_are_read_with_their_comments(tmp_path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(
        "# @package _global_\n# What it is. And more.\ndefaults:\n  - a: b\n_target_: x\n"
        "# Of one line\n# and two.\none: 1\ngroup:\n  # Inner.\n  two: [1, 2]\n  list:\n"
        "    - 3\nlast: null\n"
    )
    assert first_sentence(path) == "What it is."
    assert list(options_of(path)) == [
        Option("one", "1", "Of one line and two."),
        Option("group", "", ""),
        Option("group.two", "[1, 2]", "Inner."),
        Option("group.list", "", ""),
        Option("last", "null", ""),
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("attnflow ", list(COMMANDS)),
        ("attnflow tr", list(COMMANDS)),
        ("attnflow train attention=it", ["attention=itrans", "attention=itrans_causal"]),
        ("attnflow eval metrics=", ["metrics=domain", "metrics=inception", "metrics=none"]),
    ],
)
def test_a_shell_is_told_what_may_come_next(attnflow, monkeypatch, line, expected) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    told = attnflow("-sc", "query=bash").split()
    assert set(expected) <= set(told)
    assert all(word.startswith(line.split(" ")[-1]) for word in told) or len(line.split()) < 3


def test_a_shell_is_told_how_to_ask(attnflow, monkeypatch) -> None:
    monkeypatch.delenv("COMP_LINE", raising=False)
    assert attnflow("-sc", "install=bash").strip().endswith("hydra_bash_completion attnflow")


def test_a_report_is_asked_for_as_any_command(attnflow, monkeypatch, tmp_path) -> None:
    """Positional or by name; it leaves nothing where it was started."""
    sweep = tmp_path / "it's a=sweep"
    for number in (1, 2):
        write_run(sweep / str(number), {"val/bpd": 2.0 + number}, seed=number)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    page = attnflow("report", str(sweep), "by=[seed]", "pictures=0").strip()
    assert page == str(sweep / "report" / "index.html")
    assert list(here.iterdir()) == []
    assert attnflow("report").startswith("error: folder: expected a folder of runs")
    assert "nowhere" in attnflow("report", "nowhere")
    assert "pictures: expected a whole number" in attnflow("report", str(sweep), "pictures=-1")
    assert "by" in attnflow("report", "--help")


def test_the_folders_own_configs_are_added(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert own_folder([]) is None
    assert with_own_folder(["seed=1"]) == ["seed=1"]
    Path("conf").mkdir()
    assert own_folder(["seed=1"]) == Path("conf")
    assert with_own_folder(["seed=1"]) == ["--config-dir", f"{tmp_path}/conf", "seed=1"]
    for given in (["--config-dir", "other"], ["-cd=other"]):
        assert own_folder(given) == Path("other")
        assert with_own_folder(given) == given
    monkeypatch.chdir(ROOT)
    assert config_folder() == ROOT / "conf"
    assert with_own_folder([]) == []
    assert os.getcwd() == str(ROOT)
