"""Exact, fast generative flows with invertible attention."""

from attnflow.checkpoint import load
from attnflow.context import Context
from attnflow.errors import AttnFlowError
from attnflow.flow import Flow
from attnflow.placement import Placement
from attnflow.version import __version__

__all__ = ["AttnFlowError", "Context", "Flow", "Placement", "__version__", "load"]
