"""Checkpoints that a stranger has changed: one sentence, no figures of the file's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints import checkpoint, put
from conftest import results
from refusals import refused

import attnflow
from attnflow import AttnFlowError
from attnflow.models.checkpoint import KEY, read_checkpoint
from attnflow.spec import DataSpec

EVAL = ("eval.pictures=[]", "eval.num_sound=2", "trainer=cpu")


def refusal(path: Path) -> str:
    """The sentence with which a file is refused, which names it."""
    with pytest.raises(AttnFlowError) as told:
        attnflow.load(path)
    sentence = str(told.value)
    assert "\n" not in sentence
    assert str(path) in sentence
    return sentence


def in_config(**values: object) -> Callable[[dict], None]:
    """A change of some entries of the config."""
    return lambda held: held[KEY]["config"].update(values)


def in_choices(**values: object) -> Callable[[dict], None]:
    return lambda held: held[KEY]["config"]["choices"].update(values)


def many(times: int = 11) -> list:
    """A list that takes no room, of more values than any memory holds."""
    held = ["a"] * 10
    for _ in range(times):
        held = [held] * 10
    return held


def deep(times: int = 150) -> dict:
    held: dict = {}
    for _ in range(times):
        held = {"a": held}
    return held


def own() -> list:
    held: list = []
    held.append(held)
    return held


CHANGES = {
    "a figure": (in_choices(**{"test/bpd": "0.123"}), "a config group, got 'test/bpd'."),
    "a count": (in_choices(params="7"), "the name of a config group, got 'params'."),
    "a seed": (in_choices(seed="7"), "the name of a config group, got 'seed'."),
    "markup": (in_choices(**{"<b>": "x"}), "the name of a config group, got '<b>'."),
    "a number": (in_choices(attention=0.123), "choices.attention: expected the name of a config"),
    "a tensor": (in_choices(attention=torch.zeros(2)), "expected a plain value, got Tensor."),
    "a list of choices": (in_choices(data=["a"]), "choices.data: expected the name of a config"),
    "many choices": (
        in_choices(data=many()),
        "expected at most 10000 values in 50 levels, got more.",
    ),
    "a large trainer": (
        in_config(trainer=many()),
        "expected at most 10000 values in 50 levels, got more.",
    ),
    "a deep trainer": (in_config(trainer=deep()), "in 50 levels, got more."),
    "a trainer in itself": (in_config(trainer=own()), "got more."),
    "a large id": (lambda h: h[KEY].update(wandb_id=many()), "50 levels, got more."),
    "a large version": (lambda h: h[KEY].update(version=many()), "50 levels, got more."),
    "an id of another kind": (lambda h: h[KEY].update(wandb_id=3), "a text as wandb_id, got 3."),
    "splits of words": (lambda h: h[KEY].update(splits="x"), "expected a mapping as splits"),
    "a split without a mark": (
        lambda h: h[KEY].update(splits={"train": {"images": 3}}),
        "expected a number of images and a mark as splits.train, got {'images': 3}.",
    ),
    "a split of half an image": (
        lambda h: h[KEY].update(splits={"train": {"images": 0.5, "mark": None}}),
        "expected a number of images and a mark as splits.train",
    ),
    "an environment's": (
        lambda h: h[KEY].update(wandb_name="${oc.env:HOME}"),
        "expected a text as wandb_name, got '${oc.env:HOME}'.",
    ),
    "a choice of the environment's": (
        in_choices(attention="${oc.env:HOME}"),
        "choices.attention: expected the name of a config, got '${oc.env:HOME}'.",
    ),
    "a missing id": (lambda h: h[KEY].update(wandb_id="???"), "a text as wandb_id, got '???'."),
    "images of words": (
        lambda h: h[KEY].update(train_images="x"),
        "expected a number of images as train_images, got 'x'.",
    ),
    "bytes": (in_config(trainer={"x": b"1"}), "config.trainer.x: expected a plain value"),
    "a tuple": (in_config(trainer={"x": (1,)}), "config.trainer.x: expected a plain value"),
    "a number without end": (in_config(task_name=10**30), "task_name: expected a number below"),
    "no step": (lambda h: h.pop("global_step"), "steps as global_step, got None."),
    "a step of words": (lambda h: h.update(global_step="<b>"), "global_step, got '<b>'."),
    "a step below none": (lambda h: h.update(global_step=-5), "global_step, got -5."),
    "a numbered weight": (lambda h: h["state_dict"].update({3: torch.zeros(1)}), "text as name"),
    "a weight that colours": (
        lambda h: h["state_dict"].update({"model.\x1b[31mx": torch.zeros(1)}),
        r"expected a printable text as name, got 'model.\x1b[31mx'.",
    ),
    "a callback of two lines": (
        in_config(callbacks={"a\nb": 1}),
        r"expected a printable text as name, got 'a\nb'.",
    ),
    "a choice of two lines": (in_choices(data="a\nb"), r"the name of a config, got 'a\nb'."),
    "a weight of no values": (
        lambda h: h["state_dict"].update({"model.x": torch.zeros(1, device="meta")}),
        "expected a dense tensor as model.x",
    ),
    "a quantized weight": (
        lambda h: h["state_dict"].update(
            {"model.x": torch.quantize_per_tensor(torch.zeros(1), 1.0, 0, torch.qint8)}
        ),
        "expected a dense tensor as model.x",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_entries_of_another_kind_are_told(tmp_path, name) -> None:
    change, words = CHANGES[name]
    assert words in refusal(checkpoint(tmp_path / "x.ckpt", change=change))


def test_no_choice_takes_the_place_of_a_figure(tmp_path, command) -> None:
    def change(held: dict) -> None:
        del held[KEY]["config"]["choices"]["attention"]
        held[KEY]["config"]["choices"]["data/test_images"] = "9"

    path = checkpoint(tmp_path / "x.ckpt", change=change)
    found = results(command("eval", f"ckpt_path={path}", *EVAL))
    assert found["data/test_images"] == 297
    assert found["data"] == "digits"
    changed = checkpoint(tmp_path / "y.ckpt", change=in_choices(**{"test/bpd": 0.123}))
    assert "'test/bpd'" in refused(command, "eval", f"ckpt_path={changed}", *EVAL)


def test_no_file_decides_how_many_processes_are_started(tmp_path, command, monkeypatch) -> None:
    started = []
    monkeypatch.setattr(
        torch.utils.data.dataloader._MultiProcessingDataLoaderIter,
        "__init__",
        lambda self, loader: started.append(loader.num_workers),
    )
    path = checkpoint(
        tmp_path / "x.ckpt", change=lambda h: h[KEY]["config"]["data"].update(num_workers=40)
    )
    command("eval", f"ckpt_path={path}", *EVAL)
    assert started == []


def in_weights(ending: str, make: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[dict], None]:
    """A change of the first weight whose name ends so."""

    def change(held: dict) -> None:
        state = held["state_dict"]
        name = next(name for name in state if name.endswith(ending))
        state[name] = make(state[name])

    return change


WEIGHTS = {
    "nan": (in_weights("log_s", lambda w: w * torch.nan), "log_s, which is not finite."),
    "inf": (in_weights("shift", lambda w: w + torch.inf), "shift, which is not finite."),
    "too large": (in_weights("log_s", lambda w: w.double() + 1e300), "which is not finite."),
    "complex": (in_weights("log_s", lambda w: w + 1j), "log_s, got torch.complex64."),
    "integers": (in_weights("log_s", lambda w: w.int()), "log_s, got torch.int32."),
    "a float for a flag": (in_weights("initialized", lambda w: w.float()), "got torch.float32."),
    "bytes": (in_weights("permutation", lambda w: w.byte()), "permutation, got torch.uint8."),
    "zeros": (in_weights("permutation", lambda w: w * 0), "once, got [0, 0, 0, 0]."),
    "beyond": (in_weights("permutation", lambda w: w + 99), "expected each of 0 to 3 once"),
    "below none": (in_weights("permutation", lambda w: w - 1), "expected each of 0 to 3 once"),
    "no signs": (in_weights("sign", lambda w: w * 0), "sign: expected 1 or -1, got [0.0"),
    "double signs": (in_weights("sign", lambda w: w * 2), "sign: expected 1 or -1"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_of_no_flow_are_told(tmp_path, name) -> None:
    change, words = WEIGHTS[name]
    assert words in refusal(checkpoint(tmp_path / "x.ckpt", change=change))


def test_double_weights_are_the_same_model(tmp_path) -> None:
    torch.manual_seed(0)
    path = checkpoint(tmp_path / "x.ckpt", change=in_weights("log_s", torch.Tensor.double))
    same = torch.load(path, weights_only=True)["state_dict"]
    for name, value in attnflow.load(path).model.state_dict().items():
        assert torch.equal(value, same[f"model.{name}"].to(value.dtype))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.steps", "1"),
        ("model.steps", float("nan")),
        ("model.levels", None),
        ("model.levels", [1]),
        ("model", None),
        ("prior", {}),
        ("attention", "os.system"),
        ("attention", ["a"]),
        ("placement", {"a": 1}),
        ("placement", 7),
        ("dequantization", None),
        ("coupling", 3),
        ("coupling.net.hidden_channels", 2**62),
        ("coupling.net.hidden_channels", float("inf")),
        ("coupling.net.num_blocks", "x"),
        ("attention.kernel_size", {}),
    ],
)
def test_configs_of_no_model_are_told(tmp_path, key, value) -> None:
    refusal(checkpoint(tmp_path / "x.ckpt", change=lambda h: put(h, key, value)))


@pytest.mark.parametrize(
    ("key", "value"), [("data.seed", "x"), ("data.augment", 3), ("data.global_batch_size", [1])]
)
def test_data_of_another_kind_is_told_by_eval(tmp_path, command, key, value) -> None:
    path = checkpoint(tmp_path / "x.ckpt", change=lambda h: put(h, key, value))
    assert str(path) in refused(command, "eval", f"ckpt_path={path}", *EVAL)


SPECS = {
    "larger": ({"unpadded_shape": [1, 9, 8]}, "expected a part of (1, 8, 8)"),
    "other channels": ({"unpadded_shape": [3, 8, 8]}, "with all of its channels, got (3, 8, 8)"),
    "two sizes": ({"unpadded_shape": [8, 8]}, "unpadded_shape: expected 3 sizes, got [8, 8]"),
    "no image": ({"image_shape": None}, "image_shape: expected 3 sizes, got None"),
    "negative": ({"image_shape": [1, -8, 8]}, "image_shape: expected 3 sizes, got [1, -8, 8]"),
    "floats": ({"image_shape": [1, 8.0, 8]}, "image_shape: expected 3 sizes, got [1, 8.0, 8]"),
    "many bins": ({"num_bins": 300}, "num_bins: expected 2 to 256 grey values, got 300."),
    "far too many bins": ({"num_bins": 10**9}, "num_bins: expected 2 to 256 grey values"),
    "one bin": ({"num_bins": 1}, "num_bins: expected 2 to 256 grey values, got 1."),
    "words": ({"num_classes": "ten"}, "num_classes: expected 1 sizes, got 'ten'"),
    "true": ({"num_classes": True}, "num_classes: expected 1 sizes, got True"),
    "no classes": ({"num_classes": 0}, "num_classes: expected 1 sizes, got 0"),
    "a condition without bins": ({"condition_shape": [1, 8, 8]}, "got None."),
    "bins of conditions": ({"condition_shape": [1, 8, 8], "condition_bins": 999}, "got 999."),
}


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_of_no_images_is_told(tmp_path, name) -> None:
    change, words = SPECS[name]
    path = checkpoint(tmp_path / "x.ckpt", change=lambda h: h[KEY]["data_spec"].update(change))
    assert words in refusal(path)


def test_a_spec_comes_back_from_plain_values(tmp_path) -> None:
    spec = DataSpec((1, 8, 8), 17, 10, (2, 8, 8), 5, (1, 7, 8))
    assert DataSpec.from_dict(spec.as_dict()) == spec
    path = checkpoint(tmp_path / "x.ckpt", change=lambda h: h[KEY]["data_spec"].pop("num_bins"))
    assert "num_bins: expected 1 sizes, got None" in refusal(path)
    assert read_checkpoint(checkpoint(tmp_path / "y.ckpt"))["global_step"] == 3
