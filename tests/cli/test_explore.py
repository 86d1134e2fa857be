"""``attnflow explore``: a page until a signal, or one sentence."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from conftest import run_script
from refusals import refused

from attnflow.cli import explore as module


@pytest.fixture
def explore(monkeypatch, tmp_path):
    """Runs the command with these options; calls ``while_served`` where it would wait."""

    def run(*arguments: str, while_served=None) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(module, "wait", while_served)
        run_script(monkeypatch, "explore", "device=cpu", "hydra.run.dir=explore", *arguments)

    return run


def test_a_run_is_served_at_this_machine_alone(train, explore, capsys) -> None:
    pytest.importorskip("gradio")
    run_dir = train("model.levels=1", "test=false", "callbacks.pictures=null")
    told = []

    def while_served() -> None:
        address = next(
            line.removeprefix("page: ")
            for line in capsys.readouterr().out.splitlines()
            if line.startswith("page: ")
        )
        with urlopen(address) as answer:
            assert "default-src 'self'" in answer.headers["content-security-policy"]
            assert "attnflow explore" in answer.read().decode()
        with pytest.raises(HTTPError, match="400"):
            urlopen(Request(address, headers={"Host": "elsewhere.example"}))
        told.append(address)

    explore(f"ckpt_path={run_dir}", "port=0", while_served=while_served)
    assert told[0].startswith("http://127.0.0.1:")


def test_a_port_that_is_taken_is_told(train, explore) -> None:
    pytest.importorskip("gradio")
    run_dir = train("model.levels=1", "test=false", "callbacks.pictures=null")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refused(explore, f"ckpt_path={run_dir}", f"port={port}")
    assert "host, port: expected an address of this machine and a free port, as in port=0" in told


def test_a_missing_package_is_told_with_what_brings_it(train, explore, monkeypatch) -> None:
    run_dir = train("model.levels=1", "test=false", "callbacks.pictures=null")
    for name in [name for name in sys.modules if name.startswith("attnflow.explore.page")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gradio", None)
    told = refused(explore, f"ckpt_path={run_dir}")
    assert "attnflow explore needs the package gradio, which is not installed; " in told
    assert "pip install 'attnflow[explore]' brings it." in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "ckpt_path: expected a checkpoint, or a folder of runs, as in"),
        (["ckpt_path=nowhere"], "checkpoint nowhere: expected a .ckpt file, a run's folder"),
        (["ckpt_path=."], "ckpt_path: expected a checkpoint, a run's folder, an exported model's"),
        (["ckpt_path=words.ckpt"], "words.ckpt: expected a file of torch.save, got one that is"),
        (["ckpt_path=words.ckpt", "test_images=1"], "test_images: expected a whole number of 2"),
        (["ckpt_path=words.ckpt", "port=-1"], "port: expected a whole number of 0 or more"),
        (["ckpt_path=words.ckpt", "device=cuda:99"], "device: expected auto, cpu or a device"),
    ],
)
def test_what_cannot_be_served_is_told(explore, tmp_path: Path, arguments, told) -> None:
    (tmp_path / "words.ckpt").write_text("words")
    assert told in refused(explore, *arguments)
