"""Exact, fast generative flows with invertible attention."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from attnflow.version import __version__

if TYPE_CHECKING:
    from attnflow.context import Context, Guidance
    from attnflow.errors import AttnFlowError
    from attnflow.flows.base import Flow
    from attnflow.flows.glow import Glow
    from attnflow.flows.placement import Placement
    from attnflow.models.loaded import LoadedModel, load

__all__ = [
    "AttnFlowError",
    "Context",
    "Flow",
    "Glow",
    "Guidance",
    "LoadedModel",
    "Placement",
    "__version__",
    "load",
]

_HOMES = {
    "AttnFlowError": "attnflow.errors",
    "Context": "attnflow.context",
    "Flow": "attnflow.flows.base",
    "Glow": "attnflow.flows.glow",
    "Guidance": "attnflow.context",
    "LoadedModel": "attnflow.models.loaded",
    "Placement": "attnflow.flows.placement",
    "load": "attnflow.models.loaded",
}


def __getattr__(name: str) -> object:
    """Import on first use: commands that only read configs must not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'attnflow' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
