"""Data sets, as LightningDataModules that deliver integer images."""

from attnflow.data.base import DataSpec, ImageDataModule, TensorImages
from attnflow.data.digits import DigitsDataModule

__all__ = ["DataSpec", "DigitsDataModule", "ImageDataModule", "TensorImages"]
