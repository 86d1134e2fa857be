"""A folder for each sweep, and in it one for each of its jobs."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from attnflow.cli.containers import as_dict
from attnflow.cli.run_folder import (
    check_not_inside_a_run,
    check_sources,
    named_folder,
    option_of_folder,
    own_files,
    set_option,
)
from attnflow.errors import AttnFlowError
from attnflow.runs.aside import put_aside
from attnflow.runs.folder_lock import lock_folder
from attnflow.runs.hydra_records import records_are_ours
from attnflow.runs.names import ASIDE, CANDIDATE, ERROR_FILE, RESULTS, SWEEP

__all__ = ["claim_sweep_folder", "failed_jobs"]

# Files that Hydra, Optuna, submitit and attnflow.cli.repeats leave beside a sweep's jobs.
RECORDS = ("optimization_results.yaml", ".submitit", ".trained", SWEEP)
# A job's folder needs one of these in its name, or two jobs could get the same.
NUMBERS = ("job.num", "job.id")


def claim_sweep_folder(config: DictConfig) -> None:
    """Make the sweep's folder its own, before anything is written to it, and lock it.

    Args:
        config: composed, with Hydra's own; ``hydra.sweep.dir`` becomes the absolute path, for the
            jobs too.

    Raises:
        AttnFlowError: the folder holds something else than this sweep, another process writes
            there, or jobs could share a folder.
    """
    check_folder_of_jobs(config)
    folder = named_folder(config, "hydra.sweep.dir")
    set_option(config, "hydra.sweep.dir", str(folder))
    quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    with read_write(config.hydra), open_dict(config.hydra):
        # The jobs' configs are composed from these overrides.
        config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{quoted}'")
        if config.get("resume") == "auto" and records_are_ours(config):
            config.hydra.overrides.hydra.append(f"hydra.output_subdir={CANDIDATE}")
    option = option_of_folder(config, "hydra.sweep.dir")
    check_not_inside_a_run(folder, option)
    check_unused(folder, config)
    folder.mkdir(parents=True, exist_ok=True)
    lock_folder(folder, option)
    check_unused(folder, config)  # again: another process may have been here in between
    if config.overwrite:
        check_sources(folder, config)
        put_aside(folder, [*own_files(folder, RECORDS), *jobs(folder)])


def failed_jobs(folder: Path) -> list[Path]:
    """The error files of a sweep's jobs."""
    return [path for job in jobs(folder) for path in job.rglob(ERROR_FILE)]


def check_folder_of_jobs(config: DictConfig) -> None:
    """Raise :class:`AttnFlowError` for a name of job folders that does not number them."""
    written = as_dict(config.hydra.sweep)["subdir"]
    if not any(number in str(written) for number in NUMBERS):
        raise AttnFlowError(
            "hydra.sweep.subdir: expected a name with ${hydra:job.num}, so that each job has a "
            f"folder of its own, got {written}."
        )


def check_unused(folder: Path, config: DictConfig) -> None:
    """Raise :class:`AttnFlowError` for a folder that holds a run, or a sweep that is not this."""
    option = option_of_folder(config, "hydra.sweep.dir")
    if found := [path.name for path in own_files(folder, RESULTS)]:
        raise AttnFlowError(
            f"{option}: expected the folder of a sweep, got {folder}, a run's, which holds "
            f"{' and '.join(found)}."
        )
    if config.overwrite or not (own_files(folder, RECORDS) or jobs(folder)):
        return
    overwrite = "overwrite=true puts it aside and begins anew"
    if config.get("resume") != "auto":
        go_on = "resume=auto goes on with it, " if "resume" in config else ""
        raise AttnFlowError(
            f"{option}: expected a folder without a sweep, got {folder}, which holds one; "
            f"{go_on}{overwrite}."
        )
    if not config.hydra.sweeper._target_.endswith("BasicSweeper"):
        raise AttnFlowError(
            f"{option}: expected a new folder, as a search tries other values when it is "
            f"started again, got {folder}, which holds one; {overwrite}."
        )
    before, now = swept(read(folder / SWEEP)), swept(config)
    if before != now:
        raise AttnFlowError(
            f"resume: expected the sweep that lies in {folder} ({' '.join(before)}), got another "
            f"({' '.join(now)}); {overwrite}."
        )


def jobs(folder: Path) -> list[Path]:
    """The folders in a sweep's that hold its jobs, one or several each."""
    if not folder.is_dir():
        return []
    children = (child for child in sorted(folder.iterdir()) if child.is_dir())
    return [
        child
        for child in children
        if not child.name.startswith((ASIDE, "."))
        and any(any(child.rglob(name)) for name in (".hydra", ERROR_FILE, *RESULTS[:1]))
    ]


def read(path: Path) -> DictConfig:
    """A sweep's record; empty where it cannot be read."""
    try:
        return cast(DictConfig, OmegaConf.load(path))
    except (OSError, yaml.YAMLError):
        return OmegaConf.create()


def swept(config: DictConfig) -> list[str]:
    """Return the options in which a sweep's jobs differ, with their values."""
    overrides = OmegaConf.select(config, "hydra.overrides.task") or []
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    given = [*(f"{key}={value}" for key, value in params.items()), *overrides]
    parsed = OverridesParser.create().parse_overrides(given)
    return [str(override.input_line) for override in parsed if override.is_sweep_override()]
