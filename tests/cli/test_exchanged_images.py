"""A folder whose images have changed since a training, which is resumed or evaluated."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import QUICK, SMALL, results, run_script
from runs import last
from written import write_image, write_many

from attnflow.data import ImageFolderDataModule

pytestmark = pytest.mark.slow

OPTIONS = (*QUICK, *SMALL["glow"], "model.levels=1", "data=image_folder", "data.size=4")
OPTIONS += ("data.global_batch_size=4", "test=true", "trainer.max_epochs=1")
NOT_DRAWN = ("eval.pictures=[]", "trainer=cpu")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and the run of a training on them; tests change copies of it."""
    folder = tmp_path_factory.mktemp("kept")
    write_many(folder / "im", 40)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_script(patch, "train", *OPTIONS, "data.data_dir=im", f"hydra.run.dir={folder / 'run'}")
    return folder


@pytest.fixture
def run_dir(kept: Path, tmp_path: Path) -> Path:
    """The run, whose images are those of ``im`` in the test's folder."""
    shutil.copytree(kept / "im", tmp_path / "im")
    return Path(shutil.copytree(kept / "run", tmp_path / "run"))


@pytest.fixture
def own_images(kept: Path, tmp_path: Path) -> Iterator[Path]:
    """The images that the checkpoint itself names; they are put back."""
    aside = Path(shutil.copytree(kept / "im", tmp_path / "aside"))
    yield kept / "im"
    shutil.rmtree(kept / "im")
    shutil.copytree(aside, kept / "im")


def refused(command, *arguments: str, run_dir: Path | None = None) -> str:
    with pytest.raises(SystemExit) as stopped:
        command(*arguments, **({} if run_dir is None else {"run_dir": run_dir}))
    message = str(stopped.value.code)
    assert message.startswith("error: ")
    assert "\n" not in message
    return message


def test_a_checkpoint_tells_of_its_splits(kept) -> None:
    told = last(kept / "run")["attnflow"]["splits"]
    assert {split: entry["images"] for split, entry in told.items()} == {
        "train": 32,
        "val": 4,
        "test": 4,
    }
    assert len({entry["mark"] for entry in told.values()}) == 3


def test_a_training_goes_on_with_its_own_images_alone(run_dir, command, tmp_path) -> None:
    longer = (*OPTIONS, "trainer.max_epochs=2", f"resume={run_dir}")
    assert results(command("train", *longer, "data.data_dir=im"))["steps"] == 6
    (tmp_path / "im" / "0.png").rename(tmp_path / "im" / "zz.png")
    folder = tmp_path / "refused"
    message = refused(command, "train", *longer, "data.data_dir=im", run_dir=folder)
    path = run_dir / "checkpoints" / "last.ckpt"
    assert f"the training split: expected the 32 images that the checkpoint {path} was" in message
    assert not list(folder.glob("*.json")) + list(folder.glob("checkpoints"))


def test_an_evaluation_on_images_that_were_trained_on_is_refused(
    own_images, kept, command, tmp_path
) -> None:
    evaluate = ("eval", f"ckpt_path={kept / 'run'}", *NOT_DRAWN)
    figures = results(command(*evaluate))
    (own_images / "0.png").rename(own_images / "zz.png")
    folder = tmp_path / "refused"
    message = refused(command, *evaluate, "+data.in_memory=false", run_dir=folder)
    message_of_score = refused(command, "score", evaluate[1], "device=cpu", f"out={tmp_path}/s.csv")
    assert "so that it may have been trained on some of them" in message_of_score
    assert not (tmp_path / "s.csv").exists()
    assert "so that it may have been trained on some of them; data.data_dir=PATH has" in message
    assert not list(folder.glob("results.json"))
    named = results(command(*evaluate, f"data.data_dir={own_images}"))
    assert named["test/bpd"] != figures["test/bpd"]


def test_an_evaluation_on_other_test_images_says_so(own_images, kept, command) -> None:
    write_image(ImageFolderDataModule(str(own_images)).files("test")[1], 9, 9, 3)
    folder = command("eval", f"ckpt_path={kept / 'run'}", *NOT_DRAWN)
    path = kept / "run" / "checkpoints" / "best.ckpt"
    told = f"the test split: the training of {path} kept 4 images for its test, these 4 are not the"
    assert told in (folder / "eval.log").read_text()
    assert results(folder)["data/test_images"] == 4
