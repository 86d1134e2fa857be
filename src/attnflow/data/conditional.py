"""Image-to-image tasks that need no download."""

from __future__ import annotations

from dataclasses import replace

import torch

from attnflow.data.digits import DigitsDataModule
from attnflow.data.photos import PhotosDataModule
from attnflow.data.samples import TensorImages
from attnflow.spec import DataSpec

__all__ = ["DigitsInpaintDataModule", "PhotosColorizeDataModule"]

LUMA = torch.tensor([0.299, 0.587, 0.114])  # ITU-R BT.601


class PhotosColorizeDataModule(PhotosDataModule):
    """Colour patches of photographs, given their grey values: colorization.

    ``image`` (3, s, s) as in :class:`PhotosDataModule`; ``condition`` (1, s, s), its luma.
    """

    @property
    def spec(self) -> DataSpec:
        spec = super().spec
        shape = (1, *spec.image_shape[1:])
        return replace(spec, condition_shape=shape, condition_bins=spec.num_bins)

    def read(self, split: str) -> TensorImages:
        images = super().read(split).fields["image"]
        grey = torch.einsum("nchw,c->nhw", images.float(), LUMA).round().to(torch.uint8)
        return TensorImages(images, condition=grey[:, None])


class DigitsInpaintDataModule(DigitsDataModule):
    """The right half of a digit, (1, 8, 4), given its left half of the same shape."""

    @property
    def spec(self) -> DataSpec:
        half = (1, 8, 4)
        return replace(super().spec, image_shape=half, condition_shape=half, condition_bins=17)

    def read(self, split: str) -> TensorImages:
        fields = super().read(split).fields
        left, right = fields["image"].chunk(2, 3)
        return TensorImages(right.contiguous(), condition=left.contiguous(), label=fields["label"])
