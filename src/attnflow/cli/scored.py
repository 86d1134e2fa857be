"""Images that are scored: of a data set, or a user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from attnflow.data import ImageDataModule
from attnflow.data.given import GivenImages, fit_bytes
from attnflow.data.image_files import ImageFilesDataModule
from attnflow.data.padding import pad_to
from attnflow.metrics.images import cut_padding, fetch, to_uint8
from attnflow.models.image_model import Batch

__all__ = ["FittedImages", "LabelledImages", "Scored", "SplitImages"]


class Scored(Protocol):
    """Images to score, by number."""

    @property
    def names(self) -> Sequence[str]:
        """What each is called in the table."""
        ...

    def batch(self, numbers: list[int]) -> Batch:
        """The images of these numbers, and what the model is given with them."""
        ...


@dataclass(frozen=True)
class SplitImages:
    """The images of a data module's split."""

    data: ImageDataModule
    split: str

    @property
    def names(self) -> Sequence[str]:
        number = len(self.data.dataset(self.split))
        files = self.data.files(self.split) if isinstance(self.data, ImageFilesDataModule) else []
        return list(map(str, files)) if len(files) == number else list(map(str, range(number)))

    def batch(self, numbers: list[int]) -> Batch:
        return fetch(self.data.dataset(self.split), numbers)


@dataclass(frozen=True)
class LabelledImages:
    """Images of a user's, all of one class where the model asks for one.

    Attributes:
        images: as they are.
        shape: that they are padded to, as in training.
        label: the class.
    """

    images: GivenImages
    shape: tuple[int, int, int]
    label: Tensor | None

    @property
    def names(self) -> Sequence[str]:
        return self.images.names

    def batch(self, numbers: list[int]) -> Batch:
        batch = {"image": pad_to(self.images.batch(numbers), self.shape)}
        return batch if self.label is None else batch | {"label": self.label.expand(len(numbers))}


@dataclass(frozen=True)
class FittedImages:
    """The images of a split of another data set, made to fit a model's.

    Attributes:
        images: the split.
        shape: (C, H, W) that they are scaled to.
        padded_shape: that they are padded to, as in training.
        num_bins: of the model's grey values.
        label: the class of all, where the model asks for one; None for their own, if they have any.
    """

    images: SplitImages
    shape: tuple[int, int, int]
    padded_shape: tuple[int, int, int]
    num_bins: int
    label: Tensor | None

    @property
    def names(self) -> Sequence[str]:
        return self.images.names

    def batch(self, numbers: list[int]) -> Batch:
        held, spec = self.images.batch(numbers), self.images.data.spec
        own = cut_padding(held["image"], spec.unpadded_shape or spec.image_shape)
        image = fit_bytes(to_uint8(own, spec.num_bins), self.shape, self.num_bins)
        label = held.get("label") if self.label is None else self.label.expand(len(numbers))
        image = pad_to(image, self.padded_shape)
        return {"image": image} if label is None else {"image": image, "label": label}
