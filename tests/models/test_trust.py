"""A file from a stranger: nothing that it holds decides which function is called.

Each attempt would write the file ``ran`` if it got through.
"""

from __future__ import annotations

import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoints import checkpoint, put
from refusals import refused

import attnflow
from attnflow import AttnFlowError
from attnflow.metrics.files import read
from attnflow.metrics.inception import read_network
from attnflow.models.checkpoint import KEY
from attnflow.models.groups import MODEL_GROUPS
from attnflow.models.trust import TrustedNames, check_trusted, targets_of_configs
from attnflow.report.runs import read_runs

GROUPS = (*MODEL_GROUPS, "data")


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What code in a file would leave behind, in the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "ran"


# A call that leaves its mark, in the ways that a config can write it.
PATH = {"_target_": "pathlib.Path", "_args_": ["ran"]}
TOUCH = {"_target_": "pathlib.Path.touch", "self": PATH}
CALLS = {
    "a method": TOUCH,
    "positional": {"_target_": "pathlib.Path.touch", "_args_": [PATH]},
    "an open file": {"_target_": "builtins.open", "file": "ran", "mode": "w"},
    "io": {"_target_": "io.open", "_args_": ["ran", "w"]},
    "os": {"_target_": "os.system", "command": "touch ran"},
    "posix": {"_target_": "posix.system", "command": "touch ran"},
    "subprocess": {"_target_": "subprocess.run", "args": ["touch", "ran"]},
    "Popen": {"_target_": "subprocess.Popen", "args": ["touch", "ran"]},
    "exec": {"_target_": "builtins.exec", "_args_": ["open('ran', 'w')"]},
    "runpy": {"_target_": "runpy.run_path", "path_name": "code.py"},
    "copy": {"_target_": "shutil.copy", "src": "code.py", "dst": "ran"},
    "a logger": {"_target_": "logging.FileHandler", "filename": "ran"},
    "a tensor file": {"_target_": "torch.save", "obj": [], "f": "ran"},
    "an array file": {"_target_": "numpy.save", "file": "ran.npy", "arr": [1]},
    "a pickle": {"_target_": "pandas.read_pickle", "filepath_or_buffer": "code.pickle"},
    "a function of torch": {"_target_": "torch.load", "f": "code.pickle", "weights_only": False},
    "a partial": {"_target_": "functools.partial", "_args_": [TOUCH]},
    "our module's Path": {"_target_": "attnflow.data.decoding.Path.touch", "self": PATH},
    "our module's subprocess": {"_target_": "attnflow.cli.ranks.subprocess.run", "args": ["touch"]},
    "our module's sys": {"_target_": "attnflow.cli.run.sys.exit"},
    "our module's os": {"_target_": "attnflow.cli.ranks.os.mkdir", "path": "ran"},
    "our module's pickle": {"_target_": "attnflow.cli.ranks.pickle.loads", "_args_": ["x"]},
    "our function": {"_target_": "attnflow.metrics.inception.download", "path": "ran"},
    "our write": {"_target_": "attnflow.metrics.files.save", "path": "ran", "tensors": {}},
    "our class of another kind": {"_target_": "attnflow.metrics.Inception", "weights_path": "x"},
    "our method": {"_target_": "attnflow.data.DigitsDataModule.read", "self": None, "split": "x"},
    "get_method": {"_target_": "hydra.utils.get_method", "path": "os.system"},
    "get_class": {"_target_": "hydra.utils.get_class", "path": "pathlib.Path"},
    "get_object": {"_target_": "hydra.utils.get_object", "path": "os.system"},
    "call": {"_target_": "hydra.utils.call", "config": TOUCH},
    "instantiate": {"_target_": "hydra.utils.instantiate", "config": TOUCH},
    "Lambda": {"_target_": "torchvision.transforms.v2.Lambda", "lambd": TOUCH},
    "Lambda by its module": {"_target_": "torchvision.transforms.v2._misc.Lambda", "lambd": TOUCH},
    "torchvision's function": {"_target_": "torchvision.transforms.v2.functional.resize"},
    "torchvision's torch": {"_target_": "torchvision.transforms.v2._misc.torch.save", "f": "ran"},
    "in an allowed class": {"_target_": "torchvision.transforms.v2.Pad", "padding": TOUCH},
    "not converted": {"_target_": "torchvision.transforms.v2.Identity", "x": {"y": [[TOUCH]]}},
    "not recursive": {**TOUCH, "_recursive_": False},
    "a list as target": {"_target_": ["pathlib.Path.touch"]},
    "a number as target": {"_target_": 3},
    "no target": {"_target_": None},
    "an empty target": {"_target_": ""},
    "a target of two lines": {"_target_": "pathlib.Path\n.touch"},
    "an interpolated target": {"_target_": "${oc.env:TARGET}"},
    "an environment variable": {
        "_target_": "attnflow.flows.placement.Placement",
        "x": "${oc.env:HOME}",
    },
    "a resolver": {
        "_target_": "attnflow.flows.placement.Placement",
        "positions": "${hydra:job.name}",
    },
    "an escape": {
        "_target_": "attnflow.flows.placement.Placement",
        "positions": "\\${oc.env:HOME}",
    },
    "a missing value": {"_target_": "attnflow.flows.placement.Placement", "positions": "???"},
    "a way of another type": {"_target_": "attnflow.flows.placement.Placement", "_partial_": "yes"},
    "arguments of another type": {"_target_": "attnflow.flows.placement.Placement", "_args_": "ab"},
}


def refusal(path: Path, ran: Path, **options: object) -> str:
    """The sentence with which a file is refused; nothing of it has run."""
    (ran.parent / "code.py").write_text("open('ran', 'w')")
    with pytest.raises(AttnFlowError) as told:
        attnflow.load(path, **options)
    assert not ran.exists()
    assert "\n" not in str(told.value)
    assert str(path) in str(told.value)
    return str(told.value)


@pytest.mark.parametrize("call", CALLS)
def test_calls_of_other_code_are_refused(tmp_path, ran, monkeypatch, call) -> None:
    monkeypatch.setenv("TARGET", "pathlib.Path.touch")
    path = checkpoint(tmp_path / "x.ckpt", change=lambda h: put(h, "data.augment", [CALLS[call]]))
    assert "data.augment.0" in refusal(path, ran)


@pytest.mark.parametrize("group", GROUPS)
def test_calls_in_every_config_group_are_refused(tmp_path, ran, group) -> None:
    kind = "conditioning=class"
    path = checkpoint(tmp_path / "x.ckpt", kind, change=lambda h: put(h, group, TOUCH))
    sentence = refusal(path, ran)
    assert f"{group}._target_ is 'pathlib.Path.touch'" in sentence
    assert "trust=[pathlib.Path.touch] allows it" in sentence
    hidden = f"{group}.more"
    path = checkpoint(tmp_path / "y.ckpt", kind, change=lambda h: put(h, hidden, {"a": [TOUCH]}))
    assert f"{group}.more.a.0._target_ is" in refusal(path, ran)


class Code:
    """What is pickled as a call."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch ran",)


def pickled(path: Path, protocol: int) -> None:
    path.write_bytes(pickle.dumps(Code(), protocol))


def in_the_weights(held: dict) -> None:
    held["state_dict"]["model.flow.initialized"] = Code()


def in_the_config(held: dict) -> None:
    put(held, "data.global_batch_size", Code())


def in_the_spec(held: dict) -> None:
    held[KEY]["data_spec"]["image_shape"] = Code()


def in_the_id(held: dict) -> None:
    held[KEY]["wandb_id"] = Code()


def in_the_optimizer(held: dict) -> None:
    held["optimizer_states"] = [Code()]


@pytest.mark.parametrize(
    "place", [in_the_weights, in_the_config, in_the_spec, in_the_id, in_the_optimizer]
)
def test_a_pickle_with_code_is_said_to_hold_code(command, tmp_path, ran, place) -> None:
    path = checkpoint(tmp_path / "x.ckpt", change=place)
    assert (
        "expected weights and plain values, as train.py writes them, got posix.system"
        in refusal(path, ran)
    )
    for name, option in (("eval", "ckpt_path"), ("train", "resume")):
        assert "got posix.system, which is not called" in refused(command, name, f"{option}={path}")
        assert not ran.exists()


class Loads:
    """What is pickled as a call of torch."""

    def __reduce__(self) -> tuple:
        return torch.load, ("code.pickle",)


@pytest.mark.parametrize("old", [False, True])
def test_calls_of_torch_are_said_to_be_code(tmp_path, ran, old) -> None:
    weights = {"w": torch.zeros(2), "type": torch.bfloat16}
    torch.save(
        {**weights, "x": Loads()}, tmp_path / "x.ckpt", _use_new_zipfile_serialization=not old
    )
    told = refusal(tmp_path / "x.ckpt", ran)
    assert "got torch.serialization.load, which is not called" in told


@pytest.mark.parametrize("protocol", range(6))
def test_a_bare_pickle_with_code_is_said_to_hold_code(tmp_path, ran, protocol) -> None:
    pickled(tmp_path / "x.ckpt", protocol)
    assert "got posix.system, which is not called" in refusal(tmp_path / "x.ckpt", ran)


def test_cached_statistics_and_weights_run_no_code(tmp_path, ran) -> None:
    pickled(tmp_path / "statistics.pt", 2)
    assert read(tmp_path / "statistics.pt") is None
    torch.save({"total": Code()}, tmp_path / "statistics.pt")
    assert read(tmp_path / "statistics.pt") is None
    torch.save({"fc.weight": Code()}, tmp_path / "inception.pth")
    with pytest.raises(AttnFlowError, match="truncated, damaged or other file"):
        read_network(tmp_path / "inception.pth")
    assert not ran.exists()


def test_yaml_of_a_run_runs_no_code(tmp_path, ran) -> None:
    hydra = tmp_path / "run" / ".hydra"
    hydra.mkdir(parents=True)
    for name in ("config", "hydra", "overrides"):
        (hydra / f"{name}.yaml").write_text('!!python/object/apply:os.system ["touch ran"]')
    (tmp_path / "run" / "results.json").write_text('{"val/bpd": 1.0}')
    read_runs(tmp_path)
    assert not ran.exists()


def test_only_the_best_weights_of_a_resumed_file_count(command, tmp_path, ran) -> None:
    """Resuming compares the file's config with the command's; it makes nothing out of it."""
    path = checkpoint(tmp_path / "x.ckpt", change=lambda h: put(h, "data.augment", [TOUCH]))
    refused(command, "train", f"resume={path}")
    assert not ran.exists()


def test_eval_refuses_a_strangers_call(command, tmp_path, ran) -> None:
    path = checkpoint(tmp_path / "x.ckpt", change=lambda h: put(h, "data.augment", [TOUCH]))
    sentence = refused(command, "eval", f"ckpt_path={path}")
    assert "data.augment.0._target_ is 'pathlib.Path.touch'" in sentence
    assert not ran.exists()
    # What the command says in its place is the user's own.
    command("eval", f"ckpt_path={path}", "+data.augment=[]", "eval.pictures=[]")
    assert not ran.exists()


MINE = """
from attnflow.transforms import IMap
import os

class Mine(IMap):
    pass

def write():
    open("ran", "w")
"""


@pytest.fixture
def mine(tmp_path, monkeypatch) -> str:
    """A user's own package with an attention, importable."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "my_attention.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.delitem(sys.modules, "my_attention", raising=False)
    return "my_attention"


@pytest.mark.parametrize("trust", [["my_attention"], ["my_attention.Mine"], ("x", "my_attention")])
def test_what_is_trusted_by_name_is_made(tmp_path, ran, mine, trust) -> None:
    target = {"_target_": f"{mine}.Mine", "_partial_": True}
    path = checkpoint(tmp_path / "x.ckpt", change=lambda h: put(h, "attention", target))
    assert f"attention._target_ is '{mine}.Mine'" in refusal(path, ran)
    assert mine not in sys.modules  # not even imported
    assert "Mine(" in repr(attnflow.load(path, trust=trust).flow)


def test_trusting_a_package_is_not_trusting_what_it_imports(tmp_path, ran, mine) -> None:
    call = {"_target_": f"{mine}.os.mkdir", "path": "ran"}
    path = checkpoint(tmp_path / "x.ckpt", change=lambda h: put(h, "data.augment", [call]))
    refusal(path, ran, trust=[mine])
    call = {"_target_": f"{mine}.IMap.forward"}
    path = checkpoint(tmp_path / "x.ckpt", change=lambda h: put(h, "data.augment", [call]))
    refusal(path, ran, trust=[mine])


def test_eval_trusts_what_its_own_configs_name(command, tmp_path, ran, mine) -> None:
    target = {"_target_": f"{mine}.Mine", "_partial_": True}
    path = checkpoint(tmp_path / "x.ckpt", change=lambda h: put(h, "attention", target))
    asked = ["eval", f"ckpt_path={path}", "eval.pictures=[]"]
    assert f"trust=[{mine}.Mine] allows it" in refused(command, *asked)
    command(*asked, f"trust=[{mine}]")
    conf = tmp_path / "conf" / "attention"
    conf.mkdir(parents=True)
    (conf / "mine.yaml").write_text(f"_target_: {mine}.Mine\n_partial_: true\n")
    command(*asked, f"hydra.searchpath=[file://{conf.parent}]")


def test_a_name_that_is_called_for_a_folder_alone_is_told(tmp_path, ran, mine, caplog) -> None:
    target = {"_target_": f"{mine}.Mine", "_partial_": True}
    path = checkpoint(tmp_path / "x.ckpt", change=lambda h: put(h, "attention", target))
    folder = {f"{mine}.Mine": tmp_path / "conf", "attnflow.flows.Glow": tmp_path / "conf"}
    attnflow.load(path, trust=TrustedNames([], folder))
    line = f"checkpoint {path}: {mine}.Mine is called, as the configs in {tmp_path}/conf name it."
    assert caplog.messages == [line]
    attnflow.load(path, trust=TrustedNames([mine], folder))
    assert caplog.messages == [line]


def test_targets_of_configs_are_those_of_models_and_data(tmp_path) -> None:
    (tmp_path / "attention").mkdir()
    (tmp_path / "logger").mkdir()
    (tmp_path / "experiment").mkdir()
    (tmp_path / "attention" / "a.yaml").write_text("_target_: my.A\nnet: [{_target_: my.B}]\n")
    (tmp_path / "logger" / "a.yaml").write_text("_target_: my.Logger\n")
    (tmp_path / "experiment" / "a.yaml").write_text(
        "data: {augment: [{_target_: my.C}]}\ncallbacks: {x: {_target_: my.Callback}}\n"
    )
    (tmp_path / "attention" / "broken.yaml").write_text("_target_: [")
    assert targets_of_configs([tmp_path]) == {"my.A", "my.B", "my.C"}


def of_old(place: str, target: str) -> Callable[[dict], None]:
    """Makes a checkpoint one of version 0.1.0, whose config names a class that is gone."""

    def change(held: dict) -> None:
        put(held, place, target)
        held[KEY]["version"] = "0.1.0"

    return change


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("model._target_", "attnflow.flow.Flow"),
        ("attention._target_", "attnflow.transforms.Gone"),
        ("data._target_", "attnflow.data.gone.DataModule"),
    ],
)
def test_a_checkpoint_of_an_earlier_version_is_told_as_such(tmp_path, ran, place, target) -> None:
    path = checkpoint(tmp_path / "x.ckpt", change=of_old(place, target))
    sentence = refusal(path, ran)
    assert f"{path} is of an earlier attnflow (0.1.0), whose {target} ({place}) is no" in sentence
    assert sentence.endswith("so train anew, or use the version that wrote it.")


def test_every_command_tells_of_an_earlier_version(tmp_path, command, train) -> None:
    change = of_old("model._target_", "attnflow.flow.Flow")
    path = checkpoint(tmp_path / "x.ckpt", change=change)
    assert "earlier attnflow (0.1.0)" in refused(command, "eval", f"ckpt_path={path}")
    for option in ("resume", "init_from"):
        assert "earlier attnflow (0.1.0)" in refused(train, f"{option}={path}")


@pytest.mark.parametrize("trust", ["my_package", [3], ["my package"], ["my_package."], None])
def test_trust_is_a_list_of_names(command, tmp_path, trust) -> None:
    path = checkpoint(tmp_path / "x.ckpt")
    with pytest.raises(AttnFlowError, match="trust: expected a list of packages"):
        attnflow.load(path, trust=trust)


def bomb_of_references(held: dict) -> None:
    value: list = [0] * 10
    for _ in range(9):
        value = [value] * 10
    put(held, "attention", {"x": value})


def own_list(held: dict) -> None:
    value: list = []
    value.append(value)
    put(held, "attention", {"x": value})


def setting(place: str, value: object) -> Callable[[dict], None]:
    return lambda held: put(held, place, value)


def spec(name: str, value: object) -> Callable[[dict], None]:
    return lambda held: held[KEY]["data_spec"].update({name: value})


def expanded(held: dict) -> None:
    held["state_dict"]["model.flow.x"] = torch.zeros(1).expand(10**12)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (bomb_of_references, "at most 10000 values"),
        (own_list, "at most 10000 values"),
        (setting("model.levels", 10**9), "got 1000000000"),
        (setting("model.steps", 10**9), "far larger"),
        (setting("coupling.net.hidden_channels", 10**12), "far larger"),
        (setting("coupling.net.hidden_channels", 10**6), "far larger"),
        (setting("coupling.net.num_blocks", 10**9), "far larger"),
        (spec("image_shape", [10**5, 8, 8]), "far larger"),
        (spec("image_shape", [1, 2**20, 2**20]), "far larger"),
        (spec("image_shape", [1, 8]), "image_shape: expected 3 sizes, got [1, 8]"),
        (spec("image_shape", "big"), "image_shape: expected 3 sizes, got 'big'"),
        (spec("num_bins", -1), "num_bins: expected 1 sizes, got -1"),
        (spec("colour", 3), "got ['colour']"),
        (expanded, "expected 1000000000000 values of model.flow.x, got fewer"),
        (lambda h: h["state_dict"].update({"model.flow.x": "text"}), "expected a dense tensor"),
        (lambda h: h[KEY].update(config=[]), "expected a mapping as config, got list"),
        (lambda h: h[KEY].update(data_spec=None), "expected a mapping as data_spec"),
        (
            lambda h: h[KEY]["config"].update(seed="x"),
            "seed: expected a whole number from 0 to 4294967295, got 'x'.",
        ),
        (lambda h: h[KEY]["config"].update(choices=3), "expected a mapping as config.choices"),
        (lambda h: h[KEY]["config"].pop("data"), "expected a mapping as config.data"),
        (lambda h: h.update({KEY: 3}), "expected a mapping as attnflow"),
        (lambda h: h.update(state_dict=3), "expected a mapping as state_dict"),
        (lambda h: h[KEY]["config"].update(attention=torch.zeros(3)), "got Tensor"),
        (lambda h: h[KEY]["config"]["attention"].update({3.5: 1}), "text as name, got 3.5"),
        (lambda h: h[KEY]["config"]["attention"].update({"a\nb": TOUCH}), r"name, got 'a\nb'."),
    ],
)
def test_absurd_files_are_refused_in_a_sentence(tmp_path, change, named) -> None:
    path = checkpoint(tmp_path / "x.ckpt", "attention=itrans", change=change)
    with pytest.raises(AttnFlowError) as told:
        attnflow.load(path)
    assert named in str(told.value)
    assert "\n" not in str(told.value)


def test_an_archive_that_swells_is_refused(tmp_path) -> None:
    path, bomb = checkpoint(tmp_path / "x.ckpt"), tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
        packed.writestr("archive/data/999", bytes(10**7))
    with pytest.raises(AttnFlowError, match="would unpack to"):
        attnflow.load(bomb)


def test_a_bit_that_has_flipped_is_told(tmp_path) -> None:
    path = checkpoint(tmp_path / "x.ckpt")
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda part: part.file_size)
    content = bytearray(path.read_bytes())
    content[largest.header_offset + largest.file_size] ^= 1  # within, as headers are shorter
    path.write_bytes(content)
    with pytest.raises(AttnFlowError) as told:
        attnflow.load(path)
    damaged = f"got a file that is damaged (the checksum of '{largest.filename}' is another)."
    assert str(told.value).endswith(damaged)


def test_the_configs_of_this_package_are_trusted(tmp_path) -> None:
    for options in (
        ["experiment=photos_colorize", "attention=itrans"],
        ["placement=several", "attention=itrans_reading", "dequantization=variational"],
        ["conditioning=class", "prior=mar", "coupling=mixlogcdf", "coupling_net=convnet"],
    ):
        attnflow.load(checkpoint(tmp_path / "x.ckpt", *options))
    check_trusted({"data": {"augment": [{"_target_": "torchvision.transforms.v2.Pad"}]}}, "a file")
