"""The base of data sets of image files: how a file becomes an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from torch import Tensor
from typing_extensions import Unpack

from attnflow.data.base import ImageDataModule, LoaderOptions
from attnflow.data.bit_depth import check_num_bits, reduce_bits
from attnflow.data.decoding import CorruptImage, decode, size_of
from attnflow.data.finding import Found, data_folder, shown
from attnflow.data.fitting import fitted
from attnflow.data.marks import file_traits
from attnflow.data.samples import Samples, load
from attnflow.data.transparency import parse_background
from attnflow.errors import AttnFlowError, check_choice, check_least
from attnflow.spec import DataSpec
from attnflow.utils.validation import check_options

__all__ = ["ImageFileOptions", "ImageFilesDataModule"]


class ImageFileOptions(LoaderOptions, total=False):
    """The arguments of :class:`ImageFilesDataModule`, which data sets of image files take."""

    size: int | None
    channels: int
    num_bits: int
    convert: bool
    background: str | int
    in_memory: bool
    skip_corrupt: bool


class ImageFilesDataModule(ImageDataModule):
    """Image files, scaled and centre-cropped to squares. A subclass finds them: :meth:`found`.

    Args:
        data_dir: the folder that they lie in.
        size: side of the images; None takes them as they are, if all have the same size.
        channels: 3 for colour, 1 for grey.
        num_bits: bits of a grey value, 1 to 8.
        convert: turn grey into colour, colour into grey, CMYK into both, instead of refusing it.
        background: what transparent images are laid over: the name or code of a colour, or a
            grey value from 0 to 255.
        in_memory: decode once and keep all; False decodes at every read, after one that checks
            every file.
        skip_corrupt: leave files out that cannot be decoded, with a warning.
        loader: as for every data module, :class:`~attnflow.data.base.ImageDataModule`.
    """

    def __init__(
        self,
        data_dir: str,
        size: int | None = 32,
        channels: int = 3,
        num_bits: int = 8,
        convert: bool = False,
        background: str | int = "white",
        in_memory: bool = True,
        skip_corrupt: bool = False,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(**loader)
        flags = {"convert": convert, "in_memory": in_memory, "skip_corrupt": skip_corrupt}
        check_options(ImageFilesDataModule, {"size": size, **flags}, "")
        check_choice("channels", channels, (1, 3))
        if size is not None:
            check_least("size", size, 2)
        self.data_dir, self.size, self.channels = data_folder(data_dir), size, channels
        self.num_bits, self.convert = check_num_bits(num_bits), convert
        self.background = parse_background(background)
        self.in_memory, self.skip_corrupt = in_memory, skip_corrupt

    @property
    def spec(self) -> DataSpec:
        return DataSpec((self.channels, *self.image_size), 2**self.num_bits)

    @cached_property
    def image_size(self) -> tuple[int, int]:
        """(height, width); of the first file that can be read where ``size`` is None."""
        if self.size is not None:
            return self.size, self.size
        files = self.files(self.first_split)
        for file in files:
            try:
                return self.size_of(file)
            except CorruptImage:
                if not self.skip_corrupt:
                    raise
        raise AttnFlowError(
            f"the images of {self.origin(self.first_split)}: expected at least one "
            f"readable, got {len(files)}, all corrupt."
        )

    @property
    def first_split(self) -> str:
        """The split whose first file has the size of all, where ``size`` is None."""
        return "train"

    def size_of(self, file: Path) -> tuple[int, int]:
        """(height, width) of the image in a file."""
        return size_of(file)

    def found(self, split: str) -> Found:
        """The files of a split, in a fixed order, and what else lies there."""
        raise NotImplementedError

    def files(self, split: str) -> Sequence[Path]:
        """The files of a split, in a fixed order."""
        return self.found(split).files

    def origin(self, split: str) -> str:
        return shown(self.found(split).folder)

    def traits(self, split: str) -> Iterable[bytes]:
        found = self.found(split)
        return file_traits(found.folder, found.files)

    def left_out(self, split: str) -> Counter[str]:
        found = self.found(split)
        damaged = len(found.files) - len(self.dataset(split))
        return found.left_out + Counter({"damaged": damaged})

    def read(self, split: str) -> Samples:
        return load(self.detached().sample, self.files(split), self.in_memory, self.skip_corrupt)

    def sample(self, file: Path) -> dict[str, Tensor]:
        """Read one file: ``image``, and in subclasses the label or condition beside it."""
        image = decode(file, self.channels, self.convert, self.background)
        return {"image": self.fitted(image, file, self.num_bits)}

    def fitted(self, image: Tensor, file: Path, num_bits: int) -> Tensor:
        """An image of ``file`` at the size of the data set, with so many bits a grey value."""
        whole = fitted(image, self.image_size, self.size is not None, shown(file))
        return reduce_bits(whole, num_bits)
