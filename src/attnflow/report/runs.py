"""The runs of a folder, as they stand on the disk: finished, failed or half-written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from attnflow.errors import ERROR_FILE, AttnFlowError
from attnflow.evaluation.results import FILE_NAME, read_curve, read_results

__all__ = ["DONE", "FAILED", "UNFINISHED", "Run", "read_runs"]

DONE, FAILED, UNFINISHED = "done", "failed", "unfinished"


@dataclass(frozen=True)
class Run:
    """One run's folder.

    Attributes:
        name: the folder, relative to the one that was read.
        folder: its path.
        status: :data:`DONE`, :data:`FAILED` or :data:`UNFINISHED`.
        settings: the choice of every config group, and the overrides of the command line.
        config: the composed config, in which any other setting is found.
        figures: the numbers of results.json, None where one was not finite.
        note: the error of a failed run, how far an unfinished one came, else "".
    """

    name: str
    folder: Path
    status: str
    settings: Mapping[str, str]
    config: Mapping = field(repr=False)
    figures: Mapping[str, float | None]
    note: str = ""

    def setting(self, key: str) -> str:
        """The value of a config group or of a dotted key; "" where there is none."""
        if key in self.settings:
            return self.settings[key]
        value: object = self.config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return "" if value is None else str(value)

    @property
    def pictures(self) -> list[Path]:
        """Its last pictures: of every series by epoch the last one, and all others."""
        series: dict[str, Path] = {}
        for path in sorted(self.folder.glob("samples/*.png")):
            series[path.stem.split("epoch_")[0]] = path
        if "final" in series:
            series.pop("", None)  # samples by epoch, which the final ones follow
        return sorted(series.values(), key=lambda path: path.stem.startswith("attention"))


def read_runs(folder: Path) -> list[Run]:
    """Every run below ``folder``, in the order of their names, numbers by value.

    Raises:
        AttnFlowError: there is no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise AttnFlowError(
            f"folder {folder} does not exist; the folder of a sweep, as "
            "logs/train/multiruns/<time>, or of several runs is accepted."
        )
    runs = [read_run(found, folder) for found in run_folders(folder)]
    if not runs:
        raise AttnFlowError(
            f"folder {folder} holds no run (a folder with .hydra, {FILE_NAME} or {ERROR_FILE}); "
            "the folder of a sweep, as logs/train/multiruns/<time>, or of several runs is accepted."
        )
    return runs


def run_folders(folder: Path) -> Iterator[Path]:
    """The folders of runs at or below ``folder``; a numbered one counts even if it is empty."""
    if any((folder / mark).exists() for mark in (".hydra", FILE_NAME, ERROR_FILE)):
        yield folder
        return
    found = False
    for child in sorted(filter(Path.is_dir, folder.iterdir()), key=_by_number):
        for run in run_folders(child):
            found = True
            yield run
    if not found and folder.name.isdecimal():
        yield folder


def read_run(folder: Path, root: Path) -> Run:
    """One run's folder, whatever state it is in."""
    status, note, results = UNFINISHED, "", {}
    if (folder / ERROR_FILE).exists():
        status, note = FAILED, (folder / ERROR_FILE).read_text().strip()
    elif (folder / FILE_NAME).exists():
        try:
            results = read_results(folder)
            status = DONE
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            note = f"{FILE_NAME} is damaged: {error}"
    else:
        note = progress(folder)
    hydra = _read_yaml(folder / ".hydra" / "hydra.yaml")
    choices = hydra.get("hydra", {}).get("runtime", {}).get("choices", {})
    settings = {name: value for name, value in results.items() if isinstance(value, str)}
    settings |= {
        group: str(choice)
        for group, choice in choices.items()
        if choice is not None and not group.startswith("hydra")
    }
    for override in _read_yaml(folder / ".hydra" / "overrides.yaml") or []:
        key, _, value = override.partition("=")
        settings[key.lstrip("+~").split("@")[0]] = value
    if "seed" in results:
        settings["seed"] = str(results["seed"])
    return Run(
        name=str(folder.relative_to(root)),
        folder=folder,
        status=status,
        settings=settings,
        config=_read_yaml(folder / ".hydra" / "config.yaml"),
        figures={n: v for n, v in results.items() if not isinstance(v, str) and n != "seed"},
        note=note,
    )


def progress(folder: Path) -> str:
    """How far a run without results came."""
    steps, values = read_curve(folder, "val/bpd")
    if not steps:
        return f"no {FILE_NAME}, and no validation was logged: stopped early, or still starting"
    return (
        f"no {FILE_NAME}: stopped, or still training; at step {steps[-1]:,} the best val/bpd "
        f"was {min(values):.3f}"
    )


def _read_yaml(path: Path) -> dict | list:
    """A file of Hydra's; empty where it is missing or was not written to its end."""
    try:
        return yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError):
        return {}


def _by_number(path: Path) -> tuple[bool, int, str]:
    """Sorts 2 before 10, and numbers before words."""
    number = path.name.isdecimal()
    return not number, int(path.name) if number else 0, path.name
