"""Users' own pairs of images, for image-to-image models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from PIL import Image, ImageChops
from torch import Tensor
from typing_extensions import Unpack

from attnflow.data.bit_depth import check_num_bits
from attnflow.data.decoding import as_tensor, open_image
from attnflow.data.finding import Found, printable, shown
from attnflow.data.folders import FolderOptions, ImageFolderDataModule
from attnflow.data.marks import file_traits
from attnflow.data.splits import Splits, find_images
from attnflow.errors import AttnFlowError, check_choice
from attnflow.spec import DataSpec

__all__ = ["PairedFolderDataModule"]


class PairedFolderDataModule(ImageFolderDataModule):
    """Pairs of images: two halves of one file (pix2pix), or two folders with the same names.

    Split and arguments are those of :class:`ImageFolderDataModule`, and

    Args:
        condition: which half of a file is the condition, ``left`` or ``right``.
        image_dir, condition_dir: names of the two folders within ``data_dir``, where a pair is
            two files of the same name (whatever the suffix); None for halves of one file.
        condition_channels: 3 for colour, 1 for grey; None for those of the images. The grey half
            of a colour file is one whose three channels are equal.
        condition_num_bits: bits of a grey value of the conditions; None for those of the images.
    """

    def __init__(
        self,
        data_dir: str,
        condition: str = "left",
        image_dir: str | None = None,
        condition_dir: str | None = None,
        condition_channels: int | None = None,
        condition_num_bits: int | None = None,
        **options: Unpack[FolderOptions],
    ) -> None:
        super().__init__(data_dir, **options)
        check_choice("condition", condition, ("left", "right"))
        check_choice("condition_channels", condition_channels, (None, 1, 3))
        if (image_dir is None) != (condition_dir is None):
            raise AttnFlowError(
                f"data.image_dir and data.condition_dir: expected both or neither, got {image_dir} "
                f"and {condition_dir}."
            )
        self.condition, self.image_dir, self.condition_dir = condition, image_dir, condition_dir
        self.condition_channels = condition_channels or self.channels
        if condition_num_bits is None:
            condition_num_bits = self.num_bits
        self.condition_num_bits = check_num_bits(condition_num_bits, "condition_num_bits")

    @property
    def spec(self) -> DataSpec:
        return replace(
            super().spec,
            condition_shape=(self.condition_channels, *self.image_size),
            condition_bins=2**self.condition_num_bits,
        )

    @cached_property
    def splits(self) -> Splits:
        return Splits(self.data_dir / (self.image_dir or ""), self.split_names)

    def size_of(self, file: Path) -> tuple[int, int]:
        height, width = super().size_of(file)
        return height, width // 2 if self.image_dir is None else width

    def found(self, split: str) -> Found:
        if self.image_dir is not None:
            self.check_partners()
        return super().found(split)

    def traits(self, split: str) -> Iterable[bytes]:
        if self.image_dir is None:
            return super().traits(split)
        found = self.found(split)
        return file_traits(found.folder, found.files, self.condition_of)

    def condition_of(self, file: Path) -> Path:
        """The file of a pair's condition, of two folders."""
        return self.conditions[name_of(file, self.splits.folder)]

    def check_partners(self) -> None:
        """Raise :class:`AttnFlowError` where a file of two folders is no pair, or its own."""
        folder = self.splits.folder
        images, conditions = self.splits.real_files, self.condition_files.real
        both = [images[file] for file in images.keys() & conditions.keys()]
        if both:
            raise AttnFlowError(
                f"data.image_dir={self.image_dir} and data.condition_dir={self.condition_dir}: "
                f"expected other files for the conditions than for the images, got "
                f"{printable(min(both))} in both, a folder twice or a link."
            )
        alone = sorted(by_name(self.splits.all_files, folder).keys() ^ self.conditions.keys())
        if alone:
            held, lacking = folder, self.condition_files.folder
            if alone[0] in self.conditions:
                held, lacking = lacking, held
            raise AttnFlowError(
                f"{shown(Path(alone[0]))} in {shown(held)}: expected a partner of the same name in "
                f"{shown(lacking)}, got none ({len(alone)} such in all)."
            )

    @cached_property
    def conditions(self) -> dict[str, Path]:
        """The files of ``condition_dir`` by their paths without suffix."""
        return by_name(self.condition_files.files, self.condition_files.folder)

    @cached_property
    def condition_files(self) -> Found:
        """The files in ``condition_dir``."""
        return find_images(self.data_dir / (self.condition_dir or ""))

    def sample(self, file: Path) -> dict[str, Tensor]:
        image, condition = self.pair(file)
        if image.size != condition.size:
            raise AttnFlowError(
                f"the pair of {shown(file)}: expected equal sizes, got {image.size[::-1]} and "
                f"{condition.size[::-1]} (height, width)."
            )
        name = shown(file)
        image = as_tensor(image, self.channels, self.convert, name)
        option = "data.condition_channels"
        condition = as_tensor(
            condition, self.condition_channels, self.convert, f"the condition of {name}", option
        )
        return {
            "image": self.fitted(image, file, self.num_bits),
            "condition": self.fitted(condition, file, self.condition_num_bits),
        }

    def pair(self, file: Path) -> tuple[Image.Image, Image.Image]:
        """Image and condition of a file."""
        whole = open_image(file, self.background)
        if self.image_dir is not None:
            return whole, open_image(self.condition_of(file), self.background)
        if whole.width % 2:
            raise AttnFlowError(
                f"{shown(file)}: expected a pair side by side, of an even width, got {whole.width} "
                "pixels."
            )
        middle = whole.width // 2
        left = whole.crop((0, 0, middle, whole.height))
        right = whole.crop((middle, 0, whole.width, whole.height))
        image, condition = (right, left) if self.condition == "left" else (left, right)
        if self.channels == 1:
            image = grey_if_equal(image)
        if self.condition_channels == 1:
            condition = grey_if_equal(condition)
        return image, condition


def name_of(file: Path, root: Path) -> str:
    """The path of a file within ``root``, without suffix: the same for both of a pair."""
    return str(file.relative_to(root).with_suffix(""))


def by_name(files: Iterable[Path], root: Path) -> dict[str, Path]:
    """Files by :func:`name_of`."""
    named: dict[str, Path] = {}
    for file in files:
        other = named.setdefault(name_of(file, root), file)
        if other != file:
            raise AttnFlowError(
                f"pairs: expected one file a name, got {shown(other)} and {shown(file)}, which "
                "differ in their suffix alone."
            )
    return named


def grey_if_equal(image: Image.Image) -> Image.Image:
    """A colour image as a grey one, where its three channels are equal."""
    if image.mode != "RGB":
        return image
    red, green, blue = image.split()
    different = (ImageChops.difference(red, other).getbbox() for other in (green, blue))
    return image if any(different) else red
