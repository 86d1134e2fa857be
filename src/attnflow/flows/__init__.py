"""Flows: exact densities over images, built of transforms."""

from attnflow.flows.base import Flow
from attnflow.flows.glow import Glow
from attnflow.flows.jet import Jet
from attnflow.flows.placement import Placement
from attnflow.flows.single_scale import SingleScale
from attnflow.flows.tarflow import TarFlow

__all__ = ["Flow", "Glow", "Jet", "Placement", "SingleScale", "TarFlow"]
