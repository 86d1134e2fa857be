"""The version, apart from the package so that the build need not import torch."""

__version__ = "0.2.0"
