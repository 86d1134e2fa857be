"""``attnflow export``: a folder that tells all that a model needs, and nothing of its maker."""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from checkpoints import checkpoint
from conftest import ROOT, results, run_script
from refusals import refused

import attnflow
from attnflow import AttnFlowError

API = huggingface_hub.HfApi
DOWNLOAD = huggingface_hub.snapshot_download
FILES = {"README.md", "config.json", "model.safetensors", "samples.png"}


@pytest.fixture
def run_dir(train) -> Path:
    return train("model.levels=1", "conditioning=class", "callbacks.pictures=null")


@pytest.fixture
def export(monkeypatch, tmp_path):
    """Runs the command with these options; returns the folder that it wrote."""

    def run(*arguments: str, out: str = "shared") -> Path:
        monkeypatch.chdir(tmp_path)
        run_script(monkeypatch, "export", f"out={out}", *arguments)
        return tmp_path / out

    return run


def test_an_exported_model_is_the_checkpoints(export, run_dir, command) -> None:
    folder = export(f"ckpt_path={run_dir}")
    assert {path.name for path in folder.iterdir()} == FILES
    ours, theirs = attnflow.load(run_dir), attnflow.load(folder)
    state = ours.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in theirs.state_dict().items())
    assert torch.equal(ours.sample(4, 3, seed=1), theirs.sample(4, 3, seed=1))
    figures = results(command("eval", f"ckpt_path={folder}", "eval.pictures=[]"))
    for name in ("test/bpd", "test/bpd_std_err", "test/step"):
        assert figures[name] == pytest.approx(results(run_dir)[name], abs=1e-6)


def test_the_card_tells_how_the_model_was_made_and_what_it_can(export, run_dir) -> None:
    options = ["title='My digits'", "license=mit", "intended_use='To be tested.'"]
    folder = export(f"ckpt_path={run_dir}", *options)
    card = (folder / "README.md").read_text()
    bits = results(run_dir)["test/bpd"]
    expected = ["# My digits", "license: mit", f"| test/bpd | {bits:.4g} | ", "To be tested."]
    expected += ["given one of 10 classes", "attnflow train", "conditioning=class", "torch 2."]
    expected += ['attnflow.load("shared")', "ckpt_path=shared label=0", "DigitsDataModule"]
    assert [text for text in expected if text not in card] == []
    held = "".join((folder / name).read_text() for name in ("README.md", "config.json"))
    assert str(run_dir.parent) not in held


def test_no_folder_of_the_maker_is_told(export, train, tmp_path, monkeypatch) -> None:
    from PIL import Image

    for split in ("train", "val", "test"):
        (tmp_path / "secret" / "mine" / split).mkdir(parents=True)
        for number in range(4):
            image = Image.new("RGB", (4, 4), (number, 9 * number, 40))
            image.save(tmp_path / "secret" / "mine" / split / f"{number}.png")
    place = f"data.data_dir={tmp_path}/secret/mine"
    small = ["data.size=4", "data.global_batch_size=4", "model.levels=1", "test=false"]
    run_dir = train("data=image_folder", place, *small)
    folder = export(f"ckpt_path={run_dir}")
    held = "".join((folder / name).read_text() for name in ("README.md", "config.json"))
    assert "secret" not in held
    assert (
        json.loads((folder / "config.json").read_text())["attnflow"]["config"]["data"]["data_dir"]
        == "mine"
    )


def test_a_training_starts_from_an_exported_model(export, run_dir, train) -> None:
    folder = export(f"ckpt_path={run_dir}")
    options = ["conditioning=class", "model.levels=1", f"init_from={folder}"]
    started = train(*options, "optimizer.lr=0", "callbacks.pictures=null")
    assert results(started)["test/bpd"] == pytest.approx(results(run_dir)["test/bpd"], abs=1e-5)
    again = export(f"ckpt_path={folder}", out="again")
    card = (again / "README.md").read_text()
    assert f"| test/bpd | {results(run_dir)['test/bpd']:.4g}" in card


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: (f / "config.json").unlink(), "got no readable config.json"),
        (lambda f: (f / "config.json").write_text("{"), "got no readable config.json"),
        (lambda f: (f / "config.json").write_text("[]"), "expected a mapping"),
        (lambda f: (f / "config.json").write_text('{"model_type": "bert"}'), "as attnflow"),
        (lambda f: (f / "model.safetensors").write_bytes(b"no"), "damaged or another's"),
        (lambda f: (f / "model.safetensors").unlink(), "without model.safetensors"),
        (lambda f: shutil.rmtree(f), "a path that does not exist"),
    ],
)
def test_a_folder_that_is_no_exported_model_is_refused(export, run_dir, spoil, told) -> None:
    folder = export(f"ckpt_path={run_dir}")
    spoil(folder)
    with pytest.raises(AttnFlowError) as raised:
        attnflow.load(folder)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_weights_of_another_model_are_refused(export, run_dir) -> None:
    from safetensors.torch import save_file

    folder = export(f"ckpt_path={run_dir}")
    save_file({"layer.weight": torch.zeros(3)}, folder / "model.safetensors")
    with pytest.raises(AttnFlowError, match=r"so the file is damaged or another's"):
        attnflow.load(folder)
    description = json.loads((folder / "config.json").read_text())
    del description["sha256"]  # as the first exports were
    (folder / "config.json").write_text(json.dumps(description))
    with pytest.raises(AttnFlowError, match="another architecture"):
        attnflow.load(folder)
    (folder / "model.safetensors").write_bytes(b"no")
    with pytest.raises(AttnFlowError, match="damaged or of another kind"):
        attnflow.load(folder)


def test_a_bit_that_has_flipped_is_told(tmp_path) -> None:
    shutil.copytree(ROOT / "models" / "digits", tmp_path, dirs_exist_ok=True)
    weights = tmp_path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-9] ^= 1
    weights.write_bytes(content)
    with pytest.raises(AttnFlowError) as told:
        attnflow.load(tmp_path)
    assert "expected sha256 '" in str(told.value)
    assert "of model.safetensors, as in config.json, got " in str(told.value)


ODD = {
    "overrides of numbers": (".hydra/overrides.yaml", b"[1, 2]"),
    "overrides of bytes": (".hydra/overrides.yaml", b"\xff\xfe\x00"),
    "an environment's list": ("environment.json", b"[1]"),
    "a list of figures": ("config.json", b'{"figures": [1]}'),
    "a list as config": ("config.json", b"[1]"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_records_of_a_run_are_left_out_of_the_card(export, tmp_path, name) -> None:
    place, content = ODD[name]
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    (tmp_path / "run" / place).write_bytes(content)
    checkpoint(tmp_path / "run" / "best.ckpt")
    card = (export(f"ckpt_path={tmp_path}/run/best.ckpt") / "README.md").read_text()
    assert all(
        words not in card for words in ("Made with", "| figure |", "```bash\nattnflow train 1")
    )


def test_a_folder_that_holds_anything_is_refused(export, run_dir, tmp_path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "notes.txt").write_text("mine")
    told = refused(export, f"ckpt_path={run_dir}")
    assert "out: expected a folder that is new or empty" in told
    assert "resume" not in told


class Hub:
    """The hub's two calls, which accept what the library's own do; notes what they got."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder, self.called = folder, {}

    def note(self, function, *args: object, **options: object) -> None:
        bound = inspect.signature(function).bind(*args, **options)
        self.called[function.__name__] = bound.arguments

    def snapshot_download(self, *args: object, **options: object) -> str:
        self.note(DOWNLOAD, *args, **options)
        return str(self.folder)

    def create_repo(self, *args: object, **options: object) -> None:
        self.note(API.create_repo, self, *args, **options)

    def upload_folder(self, *args: object, **options: object) -> None:
        self.note(API.upload_folder, self, *args, **options)


def test_a_model_goes_to_the_hub_and_comes_from_it(export, run_dir, monkeypatch) -> None:
    hub = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    folder = export(f"ckpt_path={run_dir}", "push=me/digits")
    assert hub.called["create_repo"]["repo_id"] == "me/digits"
    assert hub.called["create_repo"]["private"] is True
    uploaded = hub.called["upload_folder"]
    assert Path(uploaded["folder_path"]) == folder
    assert set(uploaded["allow_patterns"]) == FILES
    assert 'attnflow.load("hf://me/digits")' in (folder / "README.md").read_text()

    hub = Hub(folder)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    model = attnflow.load("hf://me/digits@v1")
    assert torch.equal(model.sample(2, 1, seed=0), attnflow.load(run_dir).sample(2, 1, seed=0))
    asked = hub.called["snapshot_download"]
    assert (asked["repo_id"], asked["revision"]) == ("me/digits", "v1")
    assert set(asked["allow_patterns"]) == FILES - {"samples.png"}


def test_a_hub_without_a_network_is_told_in_a_sentence(export, run_dir, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no route\nto the host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(AttnFlowError) as raised:
        attnflow.load("hf://me/digits")
    assert "expected a model of the Hugging Face Hub that can be downloaded" in str(raised.value)
    assert "\n" not in str(raised.value)
    with pytest.raises(AttnFlowError, match="expected hf://user/name"):
        attnflow.load("hf://digits")
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", fail)
    told = refused(export, f"ckpt_path={run_dir}", "push=me/digits")
    assert "push: expected the Hugging Face Hub to take me/digits, got ConnectionError" in told
    assert "push: expected user/name" in refused(
        export, f"ckpt_path={run_dir}", "push=digits", out="other"
    )
