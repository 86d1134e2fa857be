"""``attnflow sample``: files of images, the same whatever drew them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import run_script
from PIL import Image
from refusals import refused

from attnflow import load
from attnflow.cli.image_store import image_store
from attnflow.cli.sample import Conditions, Drawing

N = 20
DRAWN = ["trainer=cpu", f"n={N}", "+trainer.enable_progress_bar=false"]


@pytest.fixture
def run_dir(train) -> Path:
    """Of a class model of the digits, which has 17 grey levels."""
    return train("conditioning=class", "model.levels=1", "test=false", "callbacks.pictures=null")


@pytest.fixture
def sample(monkeypatch, tmp_path):
    """Runs the command with these options; returns the folder that it wrote to."""

    def run(*arguments: str, out: str = "out") -> Path:
        monkeypatch.chdir(tmp_path)
        run_script(monkeypatch, "sample", *DRAWN, f"out={out}", *arguments)
        return tmp_path / out

    return run


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "images").iterdir())}


def test_images_are_files_that_say_what_made_them(sample, run_dir) -> None:
    """Those of LoadedModel.sample; a row of the grid and of labels.csv each."""
    folder = sample(f"ckpt_path={run_dir}", "seed=3", "temperature=0.8")
    model = load(run_dir).double()
    expected = model.sample(N, torch.arange(N) % 10, temperature=0.8, seed=3)
    for number, image in enumerate(expected):
        pixels = np.asarray(Image.open(folder / "images" / f"{number:06d}.png"))
        assert (pixels == (image[0].double() * 255 / 16).round().numpy()).all()
    record = json.loads((folder / "sampling.json").read_text())
    assert record["checkpoint"] == str(run_dir / "checkpoints" / "best.ckpt")
    assert (record["n"], record["seed"], record["temperature"]) == (N, 3, 0.8)
    labels = (folder / "labels.csv").read_text().splitlines()
    assert labels[:3] == ["file,label", "000000.png,0", "000001.png,1"]
    assert len(labels) == N + 1
    assert Image.open(folder / "grid.png").width > 8 * 8


def test_batches_and_ranks_make_no_difference(sample, run_dir, forked_ranks) -> None:
    whole = files(sample(f"ckpt_path={run_dir}"))
    assert len(whole) == N
    assert files(sample(f"ckpt_path={run_dir}", "batch_size=1", out="one")) == whole
    assert files(sample(f"ckpt_path={run_dir}", "batch_size=7", out="seven")) == whole
    ranks = ["trainer=ddp_cpu", "trainer.devices=2", "batch_size=3"]
    assert files(sample(f"ckpt_path={run_dir}", *ranks, out="ranks")) == whole


@pytest.mark.parametrize("format", ["npy", "npz"])
def test_arrays_hold_the_models_own_values(sample, run_dir, format) -> None:
    folder = sample(f"ckpt_path={run_dir}", f"format={format}", "label=[4,2]", "batch_size=6")
    held = np.load(folder / f"images.{format}")
    images = held if format == "npy" else held["images"]
    labels = np.load(folder / "labels.npy") if format == "npy" else held["labels"]
    assert labels.tolist() == [4, 2] * (N // 2)
    expected = load(run_dir).double().sample(N, torch.from_numpy(labels), seed=0)
    assert (images == expected.numpy()).all()
    assert images.dtype == np.uint8
    left = {path.name for path in folder.iterdir()} - {".hydra", "sample.log"}
    assert left == {f"images.{format}", "sampling.json", "grid.png"} | (
        {"labels.npy"} if format == "npy" else set()
    )


@pytest.mark.parametrize("format", ["png", "npz"])
def test_what_is_missing_is_drawn(sample, run_dir, tmp_path, format, monkeypatch) -> None:
    options = [f"ckpt_path={run_dir}", f"format={format}", "batch_size=4"]
    whole = sample(*options, out="whole")
    written = []

    def write(self: Drawing, batch: list[int]) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(batch)
        before(self, batch)

    before = Drawing.predict_step
    with monkeypatch.context() as patch:
        patch.setattr(Drawing, "predict_step", write)
        with pytest.raises(BaseException):  # noqa: B017, PT011
            sample(*options)
    assert "resume=auto goes on with it" in refused(sample, *options)
    told = refused(sample, *options, "resume=auto", "temperature=0.5")
    assert told.startswith("error: temperature: expected 1.0, as the images in")
    folder = sample(*options, "resume=auto")
    if format == "png":
        assert files(folder) == files(whole)
    else:
        ours, theirs = (np.load(each / "images.npz")["images"] for each in (folder, whole))
        assert (ours == theirs).all()
    before_it = (folder / "sampling.json").read_bytes()
    sample(*options, "resume=auto")  # nothing is left to do
    assert (folder / "sampling.json").read_bytes() == before_it


def test_a_folder_that_holds_anything_is_refused(sample, run_dir, tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "holiday.jpg").write_text("mine")
    told = refused(sample, f"ckpt_path={run_dir}")
    assert "out: expected a folder that is new or empty, got" in told
    assert "holiday.jpg" in told
    assert "resume=auto" not in told  # which goes on with no other command's folder
    of_a_run = refused(sample, f"ckpt_path={run_dir}", out=str(run_dir))
    assert f"got {run_dir}, which holds" in of_a_run
    assert of_a_run.endswith("and ...; overwrite=true puts it aside and begins anew.")
    assert "holiday.jpg" in refused(sample, f"ckpt_path={run_dir}", "resume=auto")
    folder = sample(f"ckpt_path={run_dir}", "overwrite=true")
    assert (folder / "overwritten" / "holiday.jpg").read_text() == "mine"
    assert len(files(folder)) == N


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["n=0"], "n: expected a whole number of 1 or more, got 0"),
        (["label=10"], "label: expected whole numbers from 0 to 9"),
        (["label=[1,x]"], "label: expected"),
        (["condition=images"], "condition: expected null, as this model is conditioned on label"),
        (["format=jpg"], "format: expected one of png, npy, npz, got 'jpg'"),
        (["precision=16"], "precision: expected one of 32, 64, got 16"),
        (["temperature=-1"], "temperature: expected"),
        (["guidance=2"], "guidance"),
        (["seed=x"], "seed: expected"),
        (["resume=latest"], "resume: expected one of"),
        (["ckpt_path=nothing"], "checkpoint nothing: expected"),
        (["ckpt_path=null"], "ckpt_path: expected a checkpoint"),
        (["trainer.devices=2"], "trainer.devices: expected 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(sample, run_dir, arguments, told) -> None:
    assert told in refused(sample, f"ckpt_path={run_dir}", *arguments)


def test_conditions_are_taken_in_turn() -> None:
    assert Conditions(torch.tensor([7, 3])).labels_of([0, 1, 2, 5]).tolist() == [7, 3, 7, 3]
    assert Conditions().labels_of([0]) is None
    assert Conditions().images_of([0]) is None


def test_a_batch_that_does_not_fit_is_halved(tmp_path) -> None:
    asked = []

    def draw(numbers: list[int], *_: object, **__: object) -> torch.Tensor:
        asked.append(len(numbers))
        if len(numbers) > 2:
            raise torch.OutOfMemoryError
        return torch.tensor(numbers)

    drawing = Drawing.__new__(Drawing)
    torch.nn.Module.__init__(drawing)
    drawing.conditions = Conditions()
    drawing.options = {"seed": 0, "temperature": 1.0, "guidance": None}
    drawing.__dict__["model"] = SimpleNamespace(numbered_samples=draw)
    assert drawing.draw(list(range(7))).tolist() == list(range(7))
    assert max(size for size in asked if size <= 2) == 2
    assert asked[0] == 7


def test_an_image_model_draws_for_given_images(sample, train, tmp_path) -> None:
    run_dir = train("data=digits_inpaint", "conditioning=image", "model.levels=1", "test=false")
    assert "condition: expected a folder of images" in refused(sample, f"ckpt_path={run_dir}")
    store = image_store("png", tmp_path / "given", 3, (1, 8, 4), 17)
    store.folder.mkdir()
    store.open()
    given = torch.randint(0, 17, (3, 1, 8, 4), generator=torch.Generator().manual_seed(0))
    store.write([0, 1, 2], given)
    options = [f"ckpt_path={run_dir}", f"condition={store.path}"]
    drawn = sample(*options, "format=npy", out="array")
    expected = load(run_dir).double().sample(N, condition=given[torch.arange(N) % 3], seed=0)
    assert (np.load(drawn / "images.npy") == expected.numpy()).all()
    Image.new("L", (9, 8)).save(store.path / "000009.png")
    assert "or resize=true, got 8 x 9" in refused(sample, *options, out="other")
    sample(*options, "resize=true", out="resized")
    shutil.rmtree(store.path)
    assert "condition: expected a folder" in refused(sample, *options, out="gone")


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("temperature=-1", "temperature: expected a number of 0 or more, got -1."),
        ("guidance=-3", "guidance: expected a weight of 0 or more, got -3."),
        ("guidance=2", "guidance: expected 0 of a model that was trained without condition_drop"),
        ("resize=true", "resize: expected false without condition"),
        ("label=1.5", "label: expected a class number from 0 to 9, got 1.5."),
    ],
)
def test_what_is_refused_leaves_no_folder(sample, run_dir, tmp_path, option, told) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert told in refused(sample, f"ckpt_path={run_dir}", option)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_finished_folder_says_so(sample, run_dir, capsys) -> None:
    folder = sample(f"ckpt_path={run_dir}", "n=2")
    before = files(folder)
    sample(f"ckpt_path={run_dir}", "n=2", "resume=auto")
    assert "all 2 images are there already: none is drawn" in capsys.readouterr().out
    assert files(folder) == before


def test_a_sweep_draws_every_job_s_images(sample, run_dir) -> None:
    options = ("-m", f"ckpt_path={run_dir}", "seed=1,2", "n=2")
    folder = sample(*options)
    assert files(folder / "0") != files(folder / "1")
    assert "out: expected a folder without a sweep" in refused(sample, *options)


def test_records_of_another_task_stay(sample, tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train.log").write_text("mine")
    refused(sample, "ckpt_path=nowhere")
    assert (tmp_path / "out" / "train.log").read_text() == "mine"


@pytest.mark.parametrize("out", ["taken", "taken/below"])
def test_a_folder_that_cannot_be_is_named_as_the_user_named_it(sample, tmp_path, out) -> None:
    (tmp_path / "taken").touch()
    assert refused(sample, out=out).startswith("error: out: expected a folder")
