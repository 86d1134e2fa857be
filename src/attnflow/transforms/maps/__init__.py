"""Elementwise maps: what a coupling, a prior or an autoregressive block does to one value."""

from attnflow.transforms.maps.additive import AdditiveMap
from attnflow.transforms.maps.affine import AffineMap, GaussianMap
from attnflow.transforms.maps.base import ElementwiseMap, bounded, parameters_first
from attnflow.transforms.maps.grey_levels import GreyLevelsMap
from attnflow.transforms.maps.mixture_cdf import MixtureCDFMap

__all__ = [
    "AdditiveMap",
    "AffineMap",
    "ElementwiseMap",
    "GaussianMap",
    "GreyLevelsMap",
    "MixtureCDFMap",
    "bounded",
    "parameters_first",
]
