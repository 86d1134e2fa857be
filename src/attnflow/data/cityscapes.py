"""Cityscapes: street scenes and their labels, in both directions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import InterpolationMode
from typing_extensions import Unpack

from attnflow.data.base import ImageDataModule, LoaderOptions
from attnflow.data.bit_depth import check_num_bits, reduce_bits
from attnflow.data.decoding import decode, fit
from attnflow.data.finding import data_folder
from attnflow.data.marks import file_traits
from attnflow.data.samples import LazySamples, Samples, load
from attnflow.errors import ArgumentError, AttnFlowError, check_choice
from attnflow.spec import DataSpec

__all__ = ["CityscapesDataModule"]

NUM_LABELS = 35  # ids 0 to 33, and one for every other id
PHOTO, LABEL_IDS, LABEL_COLOURS = "leftImg8bit", "gtFine_labelIds", "gtFine_color"


class CityscapesDataModule(ImageDataModule):
    """Photographs of streets and their fine labels (Cordts et al., 2016), 2,975 + 500 pairs.

    Not downloaded (it needs an account): ``leftImg8bit/`` and ``gtFine/`` of the official
    release lie in ``data_dir``. Fixed split: the official validation set tests, as the labels
    of the official test set are not public; the last training city by name validates.

    Args:
        data_dir: the folder of ``leftImg8bit`` and ``gtFine``.
        direction: ``label2photo`` or ``photo2label``, condition first.
        labels: ``one_hot`` (35 channels of 0 and 1; as a condition only) or ``color``.
        size: (height, width).
        num_bits: bits of a grey value of the image, 1 to 8.
        in_memory: decode once and keep all; False decodes at every read, and so meets a damaged
            file only there.
        loader: as for every data module, :class:`~attnflow.data.base.ImageDataModule`.
    """

    def __init__(
        self,
        data_dir: str,
        direction: str = "label2photo",
        labels: str = "one_hot",
        size: Sequence[int] = (128, 256),
        num_bits: int = 8,
        in_memory: bool = False,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(**loader)
        check_choice("direction", direction, ("label2photo", "photo2label"))
        check_choice("labels", labels, ("one_hot", "color"))
        if direction == "photo2label" and labels == "one_hot":
            raise ArgumentError(
                "labels", "color with direction photo2label, as a density needs grey values", labels
            )
        if len(size) != 2 or min(size) < 2:
            raise ArgumentError("size", "a height and a width of 2 or more", list(size))
        self.data_dir, self.direction, self.labels = data_folder(data_dir), direction, labels
        self.size, self.num_bits = (size[0], size[1]), check_num_bits(num_bits)
        self.in_memory = in_memory

    @property
    def spec(self) -> DataSpec:
        one_hot = self.labels == "one_hot"
        return DataSpec(
            image_shape=(3, *self.size),
            num_bins=2**self.num_bits,
            condition_shape=(NUM_LABELS if one_hot else 3, *self.size),
            condition_bins=2 if one_hot else 256,
        )

    def read(self, split: str) -> Samples:
        read, photos = self.detached().sample, self.photos(split)
        # The 2-megapixel files are many minutes' work, so they are not all checked first.
        if not self.in_memory:
            return LazySamples(read, photos)
        return load(read, photos, in_memory=True, skip_corrupt=False)

    def traits(self, split: str) -> Iterable[bytes]:
        return file_traits(self.data_dir, self.photos(split), self.partner)

    def photos(self, split: str) -> list[Path]:
        """The photographs of a split, each of which has a label file."""
        folder = self.data_dir / PHOTO / ("val" if split == "test" else "train")
        found = sorted(folder.glob(f"*/*_{PHOTO}.png"))
        cities = sorted({photo.parent.name for photo in found})
        if not found or (split != "test" and len(cities) < 2):
            raise AttnFlowError(
                f"Cityscapes in {folder} (data.data_dir): expected leftImg8bit/ and gtFine/ of the "
                f"official release (two cities or more to train), got {len(found)} photographs of "
                f"{len(cities)} cities."
            )
        for photo in found:
            if not self.partner(photo).is_file():
                raise AttnFlowError(
                    f"{photo}: expected its label file {self.partner(photo)}, of gtFine/ of the "
                    "official release, got none."
                )
        if split == "test":
            return found
        return [p for p in found if (p.parent.name == cities[-1]) == (split == "val")]

    def partner(self, photo: Path) -> Path:
        """The label file of a photograph."""
        kind = LABEL_IDS if self.labels == "one_hot" else LABEL_COLOURS
        name = photo.name.replace(PHOTO, kind)
        return self.data_dir / "gtFine" / photo.parts[-3] / photo.parts[-2] / name

    def sample(self, file: Path) -> dict[str, Tensor]:
        """``image`` and ``condition`` of one photograph."""
        photo = fit(decode(file, 3), self.size)
        one_hot = self.labels == "one_hot"
        label = decode(self.partner(file), 1 if one_hot else 3, convert=not one_hot)
        label = fit(label, self.size, InterpolationMode.NEAREST_EXACT)
        if one_hot:
            ids = label[0].long().clamp_max(NUM_LABELS - 1)
            label = functional.one_hot(ids, NUM_LABELS).permute(2, 0, 1).to(torch.uint8)
        image, condition = (photo, label) if self.direction == "label2photo" else (label, photo)
        return {"image": reduce_bits(image, self.num_bits), "condition": condition.contiguous()}
