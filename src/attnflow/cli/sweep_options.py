"""Checks of options of Hydra's sweepers and launchers, which do not check them."""

from __future__ import annotations

from omegaconf import DictConfig, ListConfig, OmegaConf

from attnflow.errors import AttnFlowError, check_choice, check_least

__all__ = ["check_sweep_options"]


def check_sweep_options(hydra: DictConfig) -> None:
    """Raise :class:`AttnFlowError` for options with which no job of a sweep would run.

    Args:
        hydra: Hydra's own part of a composed config.
    """
    for name in ("sweeper.n_trials", "sweeper.n_jobs"):
        number = OmegaConf.select(hydra, name)
        if number is not None:
            check_least(f"hydra.{name}", number, 1)
    if OmegaConf.select(hydra, "launcher.n_jobs") == 0:
        raise AttnFlowError(
            "hydra.launcher.n_jobs: expected 1 or more, or -1 for one a core, got 0."
        )
    direction = OmegaConf.select(hydra, "sweeper.direction")
    if direction is not None:
        for each in direction if isinstance(direction, ListConfig) else [direction]:
            named = getattr(each, "name", each)
            check_choice("hydra.sweeper.direction", named, ("minimize", "maximize"))
