"""What runs leave behind, compared."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from training_state import TRAINING_STATE, difference

# A schedule that does not depend on where training stops, so that runs are comparable.
OPEN_ENDED = ["scheduler=warmup_constant", "attention=itrans"]


def content(folder: Path) -> dict[str, str]:
    """Every file and folder below, with what it holds."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else ""
        for path in sorted(folder.rglob("*"))
    }


def last(run_dir: Path) -> dict:
    """The newest checkpoint of a run."""
    return torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)


def assert_same_training(a: dict, b: dict) -> None:
    """Two checkpoints hold the same training, bit for bit."""
    for part in TRAINING_STATE:
        assert_same(a[part], b[part], part)


def assert_same(a: object, b: object, where: str = "") -> None:
    """Bit for bit, through nested dicts and lists; fails with the place that differs."""
    assert difference(a, b, where) is None
