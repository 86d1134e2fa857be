"""Data sets, as LightningDataModules that deliver integer images."""

from attnflow.data.base import DataSpec, ImageDataModule, TensorImages
from attnflow.data.celeba import CelebADataModule
from attnflow.data.cityscapes import CityscapesDataModule
from attnflow.data.conditional import DigitsInpaintDataModule, PhotosColorizeDataModule
from attnflow.data.digits import DigitsDataModule
from attnflow.data.folders import (
    ClassFolderDataModule,
    ImageFolderDataModule,
    PairedFolderDataModule,
)
from attnflow.data.imagenet import DownsampledImageNetDataModule
from attnflow.data.longrange import LongRangeDataModule
from attnflow.data.photos import PhotosDataModule
from attnflow.data.torchvision_sets import (
    CIFAR10DataModule,
    CIFAR100DataModule,
    FashionMNISTDataModule,
    MNISTDataModule,
    SVHNDataModule,
)

__all__ = [
    "CIFAR10DataModule",
    "CIFAR100DataModule",
    "CelebADataModule",
    "CityscapesDataModule",
    "ClassFolderDataModule",
    "DataSpec",
    "DigitsDataModule",
    "DigitsInpaintDataModule",
    "DownsampledImageNetDataModule",
    "FashionMNISTDataModule",
    "ImageDataModule",
    "ImageFolderDataModule",
    "LongRangeDataModule",
    "MNISTDataModule",
    "PairedFolderDataModule",
    "PhotosColorizeDataModule",
    "PhotosDataModule",
    "SVHNDataModule",
    "TensorImages",
]
