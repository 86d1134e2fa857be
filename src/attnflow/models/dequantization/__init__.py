"""Dequantizers, which take integer images to continuous values and back."""

from attnflow.models.dequantization.base import Dequantizer
from attnflow.models.dequantization.gaussian import GaussianDequantizer
from attnflow.models.dequantization.uniform import UniformDequantizer
from attnflow.models.dequantization.variational import VariationalDequantizer

__all__ = ["Dequantizer", "GaussianDequantizer", "UniformDequantizer", "VariationalDequantizer"]
