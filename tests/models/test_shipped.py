"""The model that lies in models/digits: small, whole, and as good as it says."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from attnflow import load
from attnflow.data import DigitsDataModule
from attnflow.metrics import DomainClassifier
from attnflow.metrics.images import fetch, to_extract

FOLDER = ROOT / "models" / "digits"


def test_the_shipped_model_is_small_and_whole() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "samples.png",
    }
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2e6
    card = (FOLDER / "README.md").read_text()
    assert "attnflow sample ckpt_path=" in card


@pytest.mark.slow
def test_the_shipped_model_has_the_figures_of_its_card() -> None:
    data = DigitsDataModule()
    rows = data.dataset("test")
    batch = fetch(rows, range(len(rows)))
    bits = load(FOLDER).bits_per_dim(batch["image"], label=batch["label"].long())
    told = json.loads((FOLDER / "config.json").read_text())["figures"]["test/bpd"]
    assert float(bits.double().mean()) == pytest.approx(told, abs=1e-4)
    assert told < 1.9


@pytest.mark.slow
def test_the_shipped_model_draws_the_digits_that_are_asked_for() -> None:
    """Most of them, as a classifier of the real ones reads them."""
    data, classifier = DigitsDataModule(), DomainClassifier()
    with tempfile.TemporaryDirectory() as folder:
        classifier.prepare(data, Path(folder))
        classifier.load(data, Path(folder))
    labels = torch.arange(100) % 10
    images = load(FOLDER).sample(100, label=labels, seed=0, guidance=1)
    found = classifier.logits(to_extract(images, data.spec)).argmax(1)
    assert float((found == labels).double().mean()) > 0.7
