"""Runs compared in a page, by the options of a config."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from attnflow.errors import AttnFlowError, check_count
from attnflow.report.write import write_report
from attnflow.utils.validation import as_path

__all__ = ["report"]


def report(config: DictConfig) -> None:
    """Write the report of a folder of runs and say where it lies.

    Raises:
        AttnFlowError: an option of another kind, no such folder, or no run in it.
    """
    if config.folder is None:
        raise AttnFlowError("folder: expected a folder of runs, as in folder=PATH, got none.")
    check_count("pictures", config.pictures, least=0)
    if not isinstance(config.metric, str | None):
        raise AttnFlowError(f"metric: expected the name of a figure, got {config.metric!r}.")
    given = [config.by] if isinstance(config.by, str) else list(config.by or [])
    by = [str(setting) for setting in given]
    print(write_report(Path(as_path("folder", config.folder)), config.metric, config.pictures, by))
