"""Hydra's configs as plain containers."""

from __future__ import annotations

from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

__all__ = ["as_dict"]


def as_dict(config: DictConfig, resolve: bool = False) -> dict[str, Any]:
    """The options of a config; interpolations stay as they are written, or are resolved."""
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=resolve))
