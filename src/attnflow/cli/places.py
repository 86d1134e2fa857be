"""Check that every folder that a run's options write to lies in the run's own folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from attnflow.cli.run_folder import absolute, lies_in
from attnflow.errors import AttnFlowError

__all__ = ["check_places"]

# The arguments by which callbacks and loggers of attnflow and Lightning take their folder.
NAMES = ("dirpath", "directory", "save_dir", "dir")
# Those that name a part below one of these, the outer ones first.
BELOW = {"dirpath": ("filename",), "save_dir": ("name", "version", "sub_dir")}


def check_places(config: DictConfig, folder: Path) -> None:
    """Raise :class:`AttnFlowError` for an option that has a run write elsewhere.

    There, it could replace the checkpoints and figures of another run.

    Args:
        config: composed; its callbacks, loggers and ``paths.output_dir`` are looked at.
        folder: the run's.
    """
    for option, given in places(config):
        if given is not None and not lies_in(absolute(given), folder):
            raise AttnFlowError(
                f"{option}: expected a place in the run's own folder, {folder}, which "
                f"hydra.run.dir names, got {given}."
            )


def places(config: DictConfig) -> Iterator[tuple[str, object]]:
    """The options that name a folder to write to, with their values."""
    yield "paths.output_dir", config.paths.output_dir
    for group in ("callbacks", "logger"):
        entries = OmegaConf.select(config, group)
        for key, entry in entries.items() if isinstance(entries, Mapping) else ():
            if isinstance(entry, Mapping):
                yield from ((f"{group}.{key}.{n}", entry[n]) for n in NAMES if n in entry)
                yield from parts_below(f"{group}.{key}", entry)


def parts_below(place: str, entry: Mapping) -> Iterator[tuple[str, object]]:
    """The options of an entry that name a part below its folder, with that part's whole path.

    A W&B logger's name is that of a run.
    """
    for name, parts in BELOW.items():
        folder = entry.get(name)
        if not isinstance(folder, str) or "project" in entry:
            continue
        for part in parts:
            if isinstance(value := entry.get(part), str):
                folder = os.path.join(folder, value)
                yield f"{place}.{part}", folder
