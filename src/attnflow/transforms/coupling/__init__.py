"""Couplings: half of the channels is transformed by what a network reads in the other half."""

from attnflow.transforms.coupling.affine import AdditiveCoupling, AffineCoupling
from attnflow.transforms.coupling.base import Coupling
from attnflow.transforms.coupling.mixlogcdf import MixLogCDFCoupling

__all__ = ["AdditiveCoupling", "AffineCoupling", "Coupling", "MixLogCDFCoupling"]
