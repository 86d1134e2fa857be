"""The models that a path holds: one checkpoint, or those of a folder of runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from attnflow.errors import AttnFlowError
from attnflow.models.checkpoint import find_best
from attnflow.models.exported import HUB
from attnflow.runs.names import ASIDE

__all__ = ["found_models", "joined"]

MOST = 1000  # models of a folder
DEEPEST = 6  # folders within each other


def found_models(path: str) -> dict[str, Path]:
    """The checkpoints that a path means, by a name that tells them apart.

    Args:
        path: a checkpoint, a run's folder, an exported model's folder or its name in the Hugging
            Face Hub: one model, named after it. Any other folder: the best checkpoints of the runs
            and the exported models in it, named by their folders.

    Raises:
        AttnFlowError: there is none.
    """
    folder = Path(path)
    if str(path).startswith(HUB) or not folder.is_dir() or is_model(folder):
        return {named_after(path): find_best(path).absolute()}
    found: dict[str, Path] = {}
    for each in model_folders(folder, DEEPEST):
        if len(found) == MOST:
            raise AttnFlowError(
                f"ckpt_path: expected a folder of {MOST} models or fewer, got {folder}."
            )
        found[each.relative_to(folder).as_posix()] = find_best(each).absolute()
    if not found:
        raise AttnFlowError(
            "ckpt_path: expected a checkpoint, a run's folder, an exported model's, or a folder of "
            f"these, got {folder}, in which there is none."
        )
    return found


def joined(first: Mapping[str, Path], second: Mapping[str, Path]) -> dict[str, Path]:
    """The models of two paths, each once; of two models of one name the second has a star."""
    found = dict(first)
    for name, path in second.items():
        if path not in found.values():
            while name in found:
                name += " *"
            found[name] = path
    return found


def model_folders(folder: Path, depth: int) -> Iterator[Path]:
    """The folders of models below a folder, in the order of their names; no link is followed."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for name in names:
        child = folder / name
        if name == ASIDE or name.startswith("."):
            continue
        if is_model(child):
            yield child
        elif depth:
            yield from model_folders(child, depth - 1)


def is_model(folder: Path) -> bool:
    """Whether a folder is a run's with its best checkpoint, or an exported model's."""
    try:
        find_best(folder)
    except (AttnFlowError, OSError):
        return False
    return True


def named_after(path: str) -> str:
    """The name of a single model: its folder's, where the file's says no more than "the best"."""
    if str(path).startswith(HUB):
        return str(path).removeprefix(HUB)
    parts = [part for part in Path(path).absolute().parts if part != "checkpoints"]
    return "/".join(parts[-2:]) if parts[-1].endswith(".ckpt") else parts[-1]
