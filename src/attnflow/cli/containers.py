"""Hydra's configs as plain containers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from omegaconf import DictConfig, ListConfig, OmegaConf

__all__ = ["as_dict", "as_list"]


def as_dict(config: DictConfig, resolve: bool = False) -> dict[str, Any]:
    """The options of a config; interpolations stay as they are written, or are resolved."""
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=resolve))


def as_list(values: Sequence[str]) -> list[str]:
    """A list of a config, which Hydra types as a plain one; interpolations as they are."""
    return cast(list[str], OmegaConf.to_container(cast(ListConfig, values)))
