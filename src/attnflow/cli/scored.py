"""Images that are scored: of a data set, or a user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from attnflow.data import ImageDataModule
from attnflow.data.given import GivenImages
from attnflow.data.image_files import ImageFilesDataModule
from attnflow.metrics.images import fetch
from attnflow.models.image_model import Batch

__all__ = ["LabelledImages", "Scored", "SplitImages"]


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
    """Images of a user's, all of one class where the model asks for one."""

    images: GivenImages
    label: Tensor | None

    @property
    def names(self) -> Sequence[str]:
        return self.images.names

    def batch(self, numbers: list[int]) -> Batch:
        batch = {"image": self.images.batch(numbers)}
        return batch if self.label is None else batch | {"label": self.label.expand(len(numbers))}
