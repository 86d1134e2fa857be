"""The options that Hydra notes in a run's folder: of the leg that trains, not of a refused one."""

from __future__ import annotations

import shutil
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from attnflow.runs.folder_lock import LOCK
from attnflow.runs.names import CANDIDATE, ERROR_FILE, HYDRA
from attnflow.utils.files import write_whole

__all__ = [
    "adopt_records",
    "check_room",
    "drop_records",
    "holds_records_alone",
    "records_are_ours",
]


def records_are_ours(config: DictConfig) -> bool:
    """Whether Hydra's records go where they go by default."""
    return config.hydra.output_subdir == HYDRA


def adopt_records(folder: Path) -> None:
    """Put what Hydra wrote for this start in the place of the run's records, file by file."""
    if not (folder / CANDIDATE).is_dir():
        return
    (folder / HYDRA).mkdir(exist_ok=True)
    for path in sorted((folder / CANDIDATE).iterdir(), reverse=True):  # config.yaml is the last
        path.replace(folder / HYDRA / path.name)
    drop_records(folder)


def check_room(folder: Path, config: DictConfig) -> None:
    """Raise :class:`WriteError` where a folder's disk has no room for what Hydra is to write.

    Hydra itself would end with a traceback.
    """
    try:
        write_whole(folder / CANDIDATE / "config.yaml", OmegaConf.to_yaml(config))
    finally:
        drop_records(folder)


def holds_records_alone(folder: Path, task: str) -> bool:
    """Whether a folder holds nothing but what a start of a task puts there, of no other task."""
    known = (HYDRA, CANDIDATE, LOCK, f"{task}.log", ERROR_FILE)
    return all(path.name in known for path in folder.iterdir())


def drop_records(folder: Path) -> None:
    """Remove what Hydra wrote for a start that came to nothing."""
    shutil.rmtree(folder / CANDIDATE, ignore_errors=True)
