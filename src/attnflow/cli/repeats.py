"""Leave out jobs of a sweep that would repeat another's training."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from attnflow.runs.folder_lock import wait_for_folder
from attnflow.runs.names import SKIPPED_FILE
from attnflow.runs.results import measured

__all__ = ["original_of", "skip"]

# The folder of links in a sweep's folder: one a training, named after its config's hash.
TRAINED = ".trained"

log = logging.getLogger(__name__)


def original_of(config: DictConfig, folder: Path, sweep: Path) -> Path | None:
    """The folder of the sweep's job that trains what ``config`` says, where it is not this one.

    Args:
        config: the job's, composed.
        folder: the job's; it is noted as the one that trains this, where there is none before.
        sweep: the sweep's folder.
    """
    link = sweep / TRAINED / fingerprint(config, folder)
    link.parent.mkdir(exist_ok=True)
    name = os.path.relpath(folder, sweep)
    with suppress(OSError):  # it exists, or the file system has no links, and all jobs train
        link.symlink_to(name)
    try:
        first = os.readlink(link)
    except OSError:
        return None
    return None if first == name else sweep / first


def fingerprint(config: DictConfig, folder: Path) -> str:
    """Hash all of a config that a training depends on: equal where two would train the same."""
    config = deepcopy(config)
    placement = config.get("placement") or {}
    places = "attention" in config and "placement" in config
    if places and (config.attention is None or placement.get("positions") == []):
        for name in ("attention", "placement"):  # nothing to place, or no place for it
            OmegaConf.update(config, name, None)
    plain = OmegaConf.to_container(config, resolve=True)
    text = json.dumps(plain, sort_keys=True, default=str, ensure_ascii=False)
    text = text.replace(str(folder), "")  # where its files go
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def skip(folder: Path, original: Path) -> float:
    """Leave a job out: say so in its folder, and return the figure of the one that it repeats.

    Waits where that one still runs; infinitely bad where it came to no result.
    """
    sentence = f"skipped: the same as job {original.name} of this sweep, whose result counts."
    (folder / SKIPPED_FILE).write_text(sentence + "\n")
    log.info("%s", sentence)
    wait_for_folder(original)
    try:
        figures = json.loads((original / "results.json").read_text())
    except (OSError, ValueError):
        return float("inf")
    value = figures.get(measured(figures, "val") or measured(figures, "test") or "")
    return float("inf") if value is None else value
