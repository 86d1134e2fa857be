"""Checkpoints that no training can go on from: one sentence, nothing made up for what is lost."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from refusals import refused

from attnflow import AttnFlowError
from attnflow.models.build import build_model
from attnflow.models.checkpoint import KEY, read_checkpoint
from attnflow.spec import DataSpec
from attnflow.training.state_check import check_resumed_weights, check_training_state

OPTIONS = [
    "trainer=cpu",
    "trainer.limit_train_batches=2",
    "model.levels=1",
    "model.steps=1",
    "coupling=affine",
    "coupling_net.hidden_channels=4",
    "callbacks.progress=null",
    "callbacks.summary=null",
    "test=false",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of two steps."""
    from conftest import run_script

    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        length = ["trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1"]
        run_script(patch, "train", *OPTIONS, *length, f"hydra.run.dir={folder}")
    return folder / "checkpoints" / "last.ckpt"


def put(key: str, value: object) -> Callable[[dict], None]:
    """A change of what lies below these names, which are parted by >."""

    def change(held: dict) -> None:
        *parents, last = (int(k) if k.isdigit() else k for k in key.split(">"))
        for parent in parents:
            held = held[parent]
        if value is None:
            del held[last]
        else:
            held[last] = value

    return change


def endless() -> list:
    held: list = []
    held.append(held)
    return held


MOMENT = "optimizer_states>0>state>0>exp_avg"
CHANGES = {
    "no loops": (put("loops", None), "expected loops to be a mapping, got None."),
    "loops of words": (put("loops", "x"), "expected loops to be a mapping, got 'x'."),
    "no fit loop": (put("loops>fit_loop", None), "expected a count as loops.fit_loop.epoch_loop"),
    "no progress": (put("loops>fit_loop>epoch_progress", None), "a count as loops.fit_loop"),
    "a count of words": (
        put("loops>fit_loop>epoch_loop.batch_progress>current>ready", "1"),
        "expected a count as loops.fit_loop.epoch_loop.batch_progress.current.ready, got '1'.",
    ),
    "no steps": (
        put("loops>fit_loop>epoch_loop.automatic_optimization.optim_progress>optimizer", {}),
        "optim_progress.optimizer.step.total.completed, got None.",
    ),
    "a count below none": (
        put("loops>fit_loop>epoch_progress>total>ready", -1),
        "expected a count as loops.fit_loop.epoch_progress.total.ready, got -1.",
    ),
    "no version": (put("pytorch-lightning_version", None), "version to be a str, got None."),
    "a version of words": (put("pytorch-lightning_version", "new"), "version, got 'new'."),
    "an epoch of words": (put("epoch", "1"), "expected epoch to be a int, got '1'."),
    "no optimizer": (put("optimizer_states", []), "the state of one optimizer, got 0 of []."),
    "two optimizers": (put("optimizer_states", [{}, {}]), "one optimizer, got 2 of ['dict']."),
    "an optimizer of words": (put("optimizer_states", ["x"]), "got 1 of ['str']."),
    "no moments": (put("optimizer_states>0>state", {}), "expected the optimizer's moments, got"),
    "moments of a shape": (put(MOMENT, torch.zeros(7)), "exp_avg: expected numbers of shape (4,)"),
    "moments of words": (put(MOMENT, "x"), "expected numbers of shape (4,), got str."),
    "moments of nan": (put(MOMENT, torch.full((4,), torch.nan)), "exp_avg: expected finite"),
    "fewer parameters": (
        put("optimizer_states>0>param_groups>0>params", [0]),
        "parameters, got one of others ([0]).",
    ),
    "no callbacks": (put("callbacks", None), "expected callbacks to be a mapping, got None."),
    "a callback of words": (put("callbacks>Legs", "x"), "as the state of Legs, got str."),
    "no schedules": (put("lr_schedulers", None), "lr_schedulers to be a list, got None."),
    "a schedule of words": (put("lr_schedulers", ["x"]), "the state of a schedule, got str."),
    "endless schedules": (put("lr_schedulers", endless()), "got more."),
    "no weights below": (put("current_model_state", {}), "of another architecture."),
    "words below": (put("current_model_state", "x"), "expected a mapping as state_dict, got str."),
    "no average": (put("averaging_state", "x"), "expected a mapping as averaging_state"),
    "an endless config": (put(f"{KEY}>config>trainer", endless()), "got more."),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_no_training_goes_on_from_is_told(trained, tmp_path, name) -> None:
    change, words = CHANGES[name]
    held = torch.load(trained, weights_only=True)
    change(held)
    path = tmp_path / "x.ckpt"
    torch.save(held, path)
    with pytest.raises(AttnFlowError) as told:
        open_as_resumed(path)
    assert words in str(told.value)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def open_as_resumed(path: Path) -> None:
    """What resuming looks at before it begins."""
    held = read_checkpoint(path)
    check_training_state(held, path)
    spec = DataSpec.from_dict(held[KEY]["data_spec"])
    check_resumed_weights(held, build_model(held[KEY]["config"], spec), path)


def test_a_whole_one_is_taken(trained) -> None:
    open_as_resumed(trained)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optimizer_states", []),
        ("loops", "x"),
    ],
)
def test_the_command_tells_what_cannot_be_restored(trained, tmp_path, command, key, value) -> None:
    held = deepcopy(torch.load(trained, weights_only=True))
    put(key, value)(held)
    path = tmp_path / "x.ckpt"
    torch.save(held, path)
    options = [*OPTIONS, "trainer.max_epochs=2", "trainer.check_val_every_n_epoch=1"]
    assert str(path) in refused(command, "train", *options, f"resume={path}")
