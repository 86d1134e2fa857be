"""Data sets, as LightningDataModules that deliver integer images."""

from attnflow.data.base import DataSpec, ImageDataModule, TensorImages
from attnflow.data.digits import DigitsDataModule
from attnflow.data.longrange import LongRangeDataModule
from attnflow.data.photos import PhotosDataModule

__all__ = [
    "DataSpec",
    "DigitsDataModule",
    "ImageDataModule",
    "LongRangeDataModule",
    "PhotosDataModule",
    "TensorImages",
]
