"""From integer images to continuous values, and back."""

from attnflow.dequantization.uniform import UniformDequantizer

__all__ = ["UniformDequantizer"]
