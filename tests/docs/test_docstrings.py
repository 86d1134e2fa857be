"""The examples of docstrings do what they say."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest
import torch
from pages import ROOT

PACKAGE = ROOT / "src" / "attnflow"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if ">>> " in path.read_text())
# What has to have an example.
SHOWN = (
    "flows/glow.py",
    "flows/jet.py",
    "flows/tarflow.py",
    "models/bits.py",
    "models/loaded.py",
    "transforms/attention/imap.py",
    "transforms/attention/itrans.py",
)


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE.parent).with_suffix("").as_posix().replace("/", ".")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_an_example_is_true(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the checkout, whose model some of them load."""
    monkeypatch.chdir(ROOT)
    module = import_module(name_of(path))
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    told: list[str] = []
    for test in doctest.DocTestFinder().find(module, extraglobs={"torch": torch}):
        runner.run(test, out=told.append)
    assert runner.failures == 0, "".join(told)
    assert runner.tries > 0


def test_the_main_classes_have_examples() -> None:
    assert set(SHOWN) <= {path.relative_to(PACKAGE).as_posix() for path in FILES}
