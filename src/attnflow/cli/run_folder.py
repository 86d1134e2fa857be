"""A folder for each run: new by default, and never that of another run."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf, read_write

from attnflow.cli.containers import as_dict
from attnflow.cli.launch import agree, by_slurm, by_torchrun, is_first
from attnflow.errors import AttnFlowError
from attnflow.runs.aside import put_aside
from attnflow.runs.finished import read_finished
from attnflow.runs.folder_lock import LOCK, lock_folder
from attnflow.runs.hydra_records import check_room, drop_records, records_are_ours
from attnflow.runs.names import ASIDE, CANDIDATE, HYDRA, RECORDS, RESULTS, SWEEP
from attnflow.utils.files import new_folder

__all__ = [
    "check_not_inside_a_run",
    "check_sources",
    "claim_run_folder",
    "named_folder",
    "option_of_folder",
    "own_files",
    "set_option",
]

# Options that name a checkpoint or a run to start from.
SOURCES = ("resume", "init_from", "ckpt_path")


def claim_run_folder(config: DictConfig) -> None:
    """Make the run's folder its own, before anything is written to it, and lock it.

    Args:
        config: composed, with Hydra's own; ``hydra.run.dir`` becomes the absolute path.

    Raises:
        AttnFlowError: the folder holds, or lies in, another run, or another process writes there.
    """
    folder = named_folder(config, "hydra.run.dir")
    set_option(config, "hydra.run.dir", str(folder))
    if not is_first(config):
        keep_quiet(config)
        return
    option = option_of_folder(config, "hydra.run.dir")
    check_not_inside_a_run(folder, option)
    check_unused(folder, config)
    folder.mkdir(parents=True, exist_ok=True)
    lock_folder(folder, option)
    check_unused(folder, config)  # again: another process may have been here in between
    drop_records(folder)  # of a start that was killed
    check_room(folder, config)
    if goes_on_in(folder, config):
        if not absolute(config.resume).is_file() and read_finished(folder, config):
            keep_quiet(config)  # the task says so, and changes nothing
        elif records_are_ours(config) and (folder / HYDRA).is_dir():
            set_option(config, "hydra.output_subdir", CANDIDATE)
    if config.overwrite:
        check_sources(folder, config)
        put_aside(folder, [*own_files(folder, RECORDS), *held_by(folder, config)])


def named_folder(config: DictConfig, option: str) -> Path:
    """The absolute path that ``option`` means; one named after the time is new, and made.

    Raises:
        AttnFlowError: it is no folder, or not one that the run's processes would agree on.
    """
    given = OmegaConf.select(config, option)
    if not given:
        name = option_of_folder(config, option)
        raise AttnFlowError(f"{name}: expected a folder, got {given!r}.")
    folder = Path(os.path.abspath(os.path.expanduser(str(given))))
    if "${now:" not in as_written(config, option):
        return folder
    if by_torchrun(config):
        return agree(new_folder(folder) if is_first(config) else None)
    if by_slurm(config):
        step = os.environ.get("SLURM_STEP_ID", "0")
        return folder.with_name(f"slurm_{os.environ['SLURM_JOB_ID']}_{step}")
    nodes = (config.get("trainer") or {}).get("num_nodes", 1)
    if nodes != 1:
        raise AttnFlowError(
            f"{option}: expected the same folder on each of trainer.num_nodes={nodes}, got "
            f"{given}, which is named after the time."
        )
    return new_folder(folder)


def as_written(config: DictConfig, option: str) -> str:
    """What an option says, or the one that it refers to, with ``${now:...}`` as it is."""
    group, _, key = option.rpartition(".")
    written = as_dict(OmegaConf.select(config, group) if group else config)[key]
    reference = re.fullmatch(r"\$\{(\w+)\}", str(written))
    return as_written(config, reference[1]) if reference else str(written)


def check_unused(folder: Path, config: DictConfig) -> None:
    """Raise :class:`AttnFlowError` for a run's folder that the config does not go on in."""
    if (folder / SWEEP).exists():
        raise AttnFlowError(
            f"{option_of_folder(config, 'hydra.run.dir')}: expected the folder of a run, got a "
            f"sweep's, {folder}."
        )
    if config.overwrite or goes_on_in(folder, config):
        return
    found = [path.name for path in held_by(folder, config)]
    if found:
        may_go_on = config.get("resume", "") is None and is_of_this_task(folder, config)
        go_on = "resume=auto goes on with it, " if may_go_on else ""
        shown = [*found[:3], *(["..."] if len(found) > 3 else [])]
        raise AttnFlowError(
            f"{folder_option(config)}, got {folder}, which holds "
            f"{' and '.join(shown)}; {go_on}overwrite=true puts it aside and begins anew."
        )


def is_named_by_out(config: DictConfig) -> bool:
    """Whether the option ``out`` names the folder, as it does of what writes images or a model."""
    return config.hydra.runtime.choices.get("hydra") == "out"


def option_of_folder(config: DictConfig, option: str) -> str:
    """The option by which a user names the folder that Hydra has under ``option``."""
    return "out" if is_named_by_out(config) else option


def folder_option(config: DictConfig) -> str:
    """The option that names the folder, and what is expected of it."""
    if is_named_by_out(config):
        return "out: expected a folder that is new or empty"
    return "hydra.run.dir: expected a folder without a run"


def held_by(folder: Path, config: DictConfig) -> list[Path]:
    """What keeps a folder from being written to: of a run, what runs write; for an ``out``, all."""
    if not is_named_by_out(config):
        return own_files(folder, RESULTS)
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    known = (*RECORDS, CANDIDATE, LOCK)
    return [p for p in there if p.name not in known and not p.name.startswith(ASIDE)]


def goes_on_in(folder: Path, config: DictConfig) -> bool:
    """Whether the config goes on with what lies in ``folder``."""
    resume = config.get("resume")
    if resume is None or not is_of_this_task(folder, config):
        return False
    path = absolute(resume)
    places = (place.resolve() for place in (path, *path.parents[:2]))  # by whatever link
    return resume == "auto" or folder.resolve() in places


def is_of_this_task(folder: Path, config: DictConfig) -> bool:
    """Whether the config's task may go on with a folder; an ``out`` must say that it is its own."""
    task = task_of(folder)
    return task == config.task_name or (task is None and not is_named_by_out(config))


def task_of(folder: Path) -> str | None:
    """Return the task that wrote a folder, such as ``train``; None without a record of it."""
    try:
        record = yaml.safe_load((folder / HYDRA / "config.yaml").read_text())
        return record.get("task_name")
    except (OSError, yaml.YAMLError, AttributeError):
        return None


def check_not_inside_a_run(folder: Path, option: str) -> None:
    """Raise :class:`AttnFlowError` for a folder below one that a run wrote."""
    for parent in folder.resolve().parents:
        if task_of(parent) and own_files(parent, RESULTS):
            raise AttnFlowError(
                f"{option}: expected a folder outside of other runs, got {folder}, which lies "
                f"in that of the run {parent}."
            )


def check_sources(folder: Path, config: DictConfig) -> None:
    """Raise :class:`AttnFlowError` where what is to be overwritten is also to be started from."""
    for option in SOURCES:
        given = config.get(option)
        if given == "auto" or (given and lies_in(absolute(given), folder)):
            raise AttnFlowError(
                f"overwrite: expected false, as {option}={given} starts from what lies in the "
                f"run's folder {folder}, got true."
            )


def lies_in(path: Path, folder: Path) -> bool:
    """Whether a path is, or is below, a folder, by whatever link it is named."""
    return folder.resolve() in (place.resolve() for place in (path, *path.parents))


def absolute(path: object) -> Path:
    return Path(os.path.abspath(os.path.expanduser(str(path))))


def own_files(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return the files of these names that exist."""
    return [folder / name for name in names if os.path.lexists(folder / name)]


def keep_quiet(config: DictConfig) -> None:
    """Let Hydra write neither records nor a log: another process does, or they are there."""
    set_option(config, "hydra.output_subdir", None)
    set_option(config, "hydra.job_logging", {"root": None})


def set_option(config: DictConfig, option: str, value: object) -> None:
    """Change one of Hydra's own options, which are read-only by now."""
    with read_write(config.hydra):
        OmegaConf.update(config, option, value, merge=False, force_add=True)
