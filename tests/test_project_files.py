"""What stands beside the code agrees with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from conftest import ROOT

from attnflow.version import __version__

ROOMS = sorted(path.name for path in (ROOT / "src" / "attnflow").iterdir() if path.is_dir())


def test_the_version_is_everywhere_the_same() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_room_is_named() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rooms = [room for room in ROOMS if not room.startswith("__")]
    assert [room for room in rooms if f"{room}/" not in text] == []


def test_a_room_imports_from_rooms_above_it_alone() -> None:
    """In the order of CONTRIBUTING's table; what stands loose is for everybody."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    order = re.findall(r"^\| `(\w+)/`", text, re.MULTILINE)
    assert sorted(order) == [room for room in ROOMS if not room.startswith("__")]
    imports = re.compile(r"^\s*(?:from|import) attnflow\.(\w+)", re.MULTILINE)
    for number, room in enumerate(order):
        for file in (ROOT / "src" / "attnflow" / room).rglob("*.py"):
            found = set(imports.findall(file.read_text()))
            assert not found & set(order[number + 1 :]), file


def test_the_core_loads_torch_and_nothing_of_the_shell() -> None:
    code = (
        "import sys, attnflow.transforms, attnflow.flows; "
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    shell = "hydra omegaconf lightning sklearn wandb matplotlib torchmetrics torchvision pydantic"
    assert {"torch", "attnflow"} <= set(loaded.stdout.split())
    assert not set(shell.split()) & set(loaded.stdout.split())


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_file_that_is_named_exists(page) -> None:
    """Files of the page's tables and text; names with a wildcard or a placeholder are none."""
    text = (ROOT / page).read_text()
    named = re.findall(r"`((?:conf|tests|benchmarks|src|[a-z]+)/[\w/]+\.(?:py|yaml|md))`", text)
    places = (ROOT, ROOT / "src" / "attnflow")
    assert [name for name in named if not any((at / name).is_file() for at in places)] == []
    assert page == "README.md" or len(named) > 10


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel that pip would build and install."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_a_wheel_has_every_file_of_the_package_and_the_configs(wheel) -> None:
    places = [(ROOT / "src" / "attnflow", "attnflow"), (ROOT / "conf", "attnflow/conf")]
    expected = {
        f"{name}/{path.relative_to(folder).as_posix()}"
        for folder, name in places
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("attnflow/")}
    assert held == expected


@pytest.mark.slow
def test_an_installation_trains_in_an_empty_folder(wheel, tmp_path) -> None:
    """By its own configs, and those of the folder's own conf/."""
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    here = tmp_path / "here"
    (here / "conf" / "attention").mkdir(parents=True)
    own = "defaults: [imap]\nkernel_size: 3\n"
    (here / "conf" / "attention" / "mine.yaml").write_text(own)

    def attnflow(*arguments: str) -> str:
        command = [sys.executable, "-c", "from attnflow.__main__ import main; main()", *arguments]
        environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
        return subprocess.run(
            command, cwd=here, env=environment, check=True, capture_output=True, text=True
        ).stdout

    assert "\n  mine\n" in attnflow("train", "--help")
    attnflow("train", "debug=fast", "attention=mine", "callbacks.pictures=null")
    run_dir = next((here / "logs" / "train" / "runs").iterdir())
    assert '"attention": "mine"' in (run_dir / "results.json").read_text()


def test_a_training_is_installed_alone_and_by_uv_where_it_is_there(tmp_path) -> None:
    def told(target: str, path: str = os.defpath) -> str:
        command = ["make", "-n", target, f"VENV={tmp_path / 'venv'}"]
        environment = {"PATH": path}
        return subprocess.run(
            command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
        ).stdout

    assert "venv/bin/pip install --disable-pip-version-check --quiet -e .\n" in told("train")
    assert "--quiet -e '.[dev]'\n" in told("setup")
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text("#!/bin/sh\n")
    uv.chmod(0o755)
    found = told("train", f"{uv.parent}:{os.defpath}")
    assert f"{uv} pip install --python {tmp_path}/venv/bin/python --quiet -e .\n" in found


def test_ci_runs_targets_of_the_makefile_on_the_declared_versions() -> None:
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["test"]
    declared = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert job["strategy"]["matrix"]["python"] == declared
    help_text = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    targets = {line.split()[0] for line in help_text.splitlines()}
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert {command.removeprefix("make ") for command in commands} <= targets
    assert "make test" in commands
