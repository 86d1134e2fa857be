"""From integer images to continuous values, and back."""

from attnflow.dequantization.base import Dequantizer
from attnflow.dequantization.uniform import UniformDequantizer
from attnflow.dequantization.variational import VariationalDequantizer

__all__ = ["Dequantizer", "UniformDequantizer", "VariationalDequantizer"]
