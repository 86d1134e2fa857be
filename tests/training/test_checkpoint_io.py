"""Checkpoints that are written whole, of plain values alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from attnflow.errors import AttnFlowError
from attnflow.training.checkpoint_io import SafeCheckpointIO


def test_a_checkpoint_of_configs_and_numbers_of_numpy_can_be_read_back(tmp_path) -> None:
    """As the optimizer's state is, where an option is a list of a config."""
    groups = [{"betas": OmegaConf.create([0.9, 0.99]), "lr": np.float64(0.1)}]
    state = {"optimizer_states": [{"state": {}, "param_groups": groups}], "from": Path("a/b.ckpt")}
    path = tmp_path / "last.ckpt"
    SafeCheckpointIO().save_checkpoint(state, path)
    plain_groups = [{"betas": [0.9, 0.99], "lr": 0.1}]
    assert torch.load(path, weights_only=True) == {
        "optimizer_states": [{"state": {}, "param_groups": plain_groups}],
        "from": "a/b.ckpt",
    }


def test_what_could_not_be_read_back_is_not_written(tmp_path) -> None:
    path = tmp_path / "last.ckpt"
    SafeCheckpointIO().save_checkpoint({"global_step": 1}, path)
    with pytest.raises(AttnFlowError, match=r"\['callbacks'\]\['Theirs'\]: expected plain .*range"):
        SafeCheckpointIO().save_checkpoint({"callbacks": {"Theirs": range(3)}}, path)
    assert torch.load(path, weights_only=True) == {"global_step": 1}
