"""The jobs that a sweep announced, whether or not they started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice, product
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from attnflow.errors import AttnFlowError
from attnflow.runs.names import HYDRA, SWEEP
from attnflow.runs.reading import read_yaml

__all__ = ["announced_jobs"]

MOST = 10_000  # jobs; a range of a damaged file may stand for any number


def announced_jobs(folder: Path, names: set[str]) -> dict[str, Sequence[str]]:
    """The overrides of each job of a sweep by the name of its folder; {} where it is no sweep.

    A sweep whose folders are not numbered, or whose file is damaged, announces nothing; of a
    search, the overrides are not known beforehand.

    Args:
        names: of what is in the folder.
    """
    try:
        if SWEEP in names:
            hydra = read_yaml(folder / SWEEP)["hydra"]
            jobs = _expanded(hydra) if hydra["sweep"]["subdir"] == "${hydra:job.num}" else []
        else:
            sweeper = read_yaml(folder / "0" / HYDRA / "hydra.yaml")["hydra"]["sweeper"]
            known = "Grid" not in str(sweeper["sampler"]["_target_"])  # which counts by itself
            jobs = [()] * min(sweeper["n_trials"], MOST) if known else []
    except (AttnFlowError, LookupError, TypeError, AttributeError, HydraException, AssertionError):
        return {}
    return {str(number): job for number, job in enumerate(jobs)}


def _expanded(hydra: Mapping) -> list[tuple[str, ...]]:
    """The jobs that comma-separated values and ranges stand for, as Hydra numbers them."""
    params = hydra["sweeper"].get("params") or {}
    given = [f"{key}={value}" for key, value in params.items()] + list(hydra["overrides"]["task"])
    choices = {}
    for override in OverridesParser.create().parse_overrides(given):
        key = override.get_key_element()
        if override.is_sweep_override():
            values = islice(override.sweep_string_iterator(), MOST)
        else:
            values = [override.get_value_element_as_str()]
        choices[key] = [f"{key}={value}" for value in values]
    return list(islice(product(*choices.values()), MOST))
