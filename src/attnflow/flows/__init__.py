"""Flows: exact densities over images, built of transforms."""

from attnflow.flows.glow import Flow
from attnflow.flows.placement import Placement

__all__ = ["Flow", "Placement"]
