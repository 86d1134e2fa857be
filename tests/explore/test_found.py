"""Which models a path holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnflow import AttnFlowError
from attnflow.explore.found import found_models, joined


def run_at(folder: Path) -> Path:
    """A run's best checkpoint, of which only the place counts."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "best.ckpt").touch()
    return folder / "checkpoints" / "best.ckpt"


def test_a_checkpoint_and_a_run_are_one_model_named_after_the_run(tmp_path) -> None:
    best = run_at(tmp_path / "mine")
    assert found_models(str(tmp_path / "mine")) == {"mine": best}
    assert found_models(str(best)) == {"mine/best.ckpt": best}


def test_a_folder_holds_runs_and_exported_models_at_any_place(tmp_path) -> None:
    first, second = run_at(tmp_path / "a"), run_at(tmp_path / "sweep" / "0")
    exported = tmp_path / "shared" / "model.safetensors"
    exported.parent.mkdir()
    exported.touch()
    run_at(tmp_path / "overwritten" / "old")
    run_at(tmp_path / ".hidden")
    run_at(tmp_path / "a" / "inner")  # of a run, nothing below is looked for
    (tmp_path / "failed").mkdir()
    found = found_models(str(tmp_path))
    assert found == {"a": first, "shared": exported, "sweep/0": second}


def test_links_are_not_followed(tmp_path) -> None:
    run_at(tmp_path / "elsewhere" / "run")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AttnFlowError, match="in which there is none"):
        found_models(str(tmp_path / "here"))


def test_a_path_without_a_model_is_told(tmp_path) -> None:
    with pytest.raises(AttnFlowError, match="a path that does not exist"):
        found_models(str(tmp_path / "nowhere"))
    with pytest.raises(AttnFlowError, match="expected a checkpoint, a run's folder, an exported"):
        found_models(str(tmp_path))


def test_two_paths_hold_each_model_once() -> None:
    a, b, c = Path("a"), Path("b"), Path("c")
    assert joined({"x": a, "y": b}, {"z": b, "x": c}) == {"x": a, "y": b, "x *": c}
