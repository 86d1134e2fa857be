"""Data sets, as LightningDataModules that deliver integer images."""

from attnflow.data.base import ImageDataModule
from attnflow.data.celeba import CelebADataModule
from attnflow.data.cityscapes import CityscapesDataModule
from attnflow.data.conditional import DigitsInpaintDataModule, PhotosColorizeDataModule
from attnflow.data.digits import DigitsDataModule
from attnflow.data.folders import ClassFolderDataModule, ImageFolderDataModule
from attnflow.data.huggingface import HuggingFaceDataModule
from attnflow.data.imagenet import DownsampledImageNetDataModule
from attnflow.data.longrange import LongRangeDataModule
from attnflow.data.mnist5k import Mnist5kDataModule
from attnflow.data.pairs import PairedFolderDataModule
from attnflow.data.patches import NaturalDataModule, PatchesDataModule
from attnflow.data.photos import PhotosDataModule
from attnflow.data.samples import TensorImages
from attnflow.data.torchvision_sets import (
    CIFAR10DataModule,
    CIFAR100DataModule,
    FashionMNISTDataModule,
    MNISTDataModule,
    SVHNDataModule,
)
from attnflow.spec import DataSpec

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
    "HuggingFaceDataModule",
    "ImageDataModule",
    "ImageFolderDataModule",
    "LongRangeDataModule",
    "MNISTDataModule",
    "Mnist5kDataModule",
    "NaturalDataModule",
    "PairedFolderDataModule",
    "PatchesDataModule",
    "PhotosColorizeDataModule",
    "PhotosDataModule",
    "SVHNDataModule",
    "TensorImages",
]
