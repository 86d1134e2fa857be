"""What runs leave behind, compared."""

from __future__ import annotations

from pathlib import Path

import torch

# A schedule that does not depend on where training stops, so that runs are comparable.
OPEN_ENDED = ["scheduler=warmup_constant", "attention=itrans"]


def last(run_dir: Path) -> dict:
    """The newest checkpoint of a run."""
    return torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)


def assert_same_training(a: dict, b: dict) -> None:
    """Two checkpoints hold the same training, bit for bit."""
    for part in (
        "state_dict",  # the averaged weights
        "current_model_state",
        "averaging_state",
        "optimizer_states",
        "lr_schedulers",
        "epoch",
        "global_step",
    ):
        assert_same(a[part], b[part], part)


def assert_same(a: object, b: object, where: str = "") -> None:
    """Bit for bit, through nested dicts and lists."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for index, (left, right) in enumerate(zip(a, b, strict=True)):
            assert_same(left, right, f"{where}[{index}]")
    else:
        assert a == b, where
