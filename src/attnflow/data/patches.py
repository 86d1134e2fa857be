"""Patches of photographs: of any folder of them, and of the natural images of the benchmarks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from typing_extensions import Unpack

from attnflow.data.base import SPLITS, ImageDataModule, LoaderOptions
from attnflow.data.bit_depth import check_num_bits
from attnflow.data.finding import Found, data_folder, shown
from attnflow.data.mapped import MappedImages
from attnflow.data.marks import file_traits
from attnflow.data.patch_cache import Cutting, PatchCache
from attnflow.data.split_lists import read_split_list
from attnflow.data.splits import Splits
from attnflow.data.transparency import parse_background
from attnflow.errors import AttnFlowError, check_choice, check_count
from attnflow.spec import DataSpec
from attnflow.utils.files import WriteError
from attnflow.utils.validation import check_options

__all__ = ["NaturalDataModule", "PatchOptions", "PatchesDataModule"]


class PatchOptions(LoaderOptions, total=False):
    """How photographs become patches: arguments of :class:`PatchesDataModule`."""

    size: int
    stride: int
    eval_stride: int | None
    long_side: int | None
    channels: int
    num_bits: int
    convert: bool
    background: str | int
    skip_corrupt: bool
    max_train: int | None
    max_val: int | None
    max_test: int | None


class PatchesDataModule(ImageDataModule):
    """Square patches of a folder's photographs, no photograph in two splits.

    Split: that of a list, or of :class:`~attnflow.data.splits.Splits`; the folders of the
    splits, or shares of the photographs. ``prepare_data`` cuts the patches once, and keeps them
    in .npy files, which are then mapped and not loaded: memory stays bounded.

    Args:
        data_dir: the folder of the photographs.
        cache_dir: the folder that the patches are kept in, a subfolder for each set of files and
            options.
        size: side of a patch.
        stride: pixels from one training patch to the next.
        eval_stride: the same of validation and test; None takes ``size``: patches that do not
            overlap.
        long_side: pixels of the longer side that larger photographs are scaled to first
            (Lanczos); None takes them as they are.
        channels: 3 for colour, 1 for grey.
        num_bits: bits of a grey value, 1 to 8.
        convert: turn grey into colour, colour into grey, CMYK into both, instead of refusing it.
        background: what transparent images are laid over: the name or code of a colour, or a
            grey value from 0 to 255.
        skip_corrupt: leave photographs out that cannot be decoded, with a warning.
        max_train, max_val, max_test: patches of each split that are kept at most, drawn with seed
            0; None keeps all.
        splits: the folder of each split within ``data_dir``; None takes the usual names; empty
            cuts all photographs 80 : 10 : 10, whatever their folders are called.
        split_file: a list of the photographs of each split, as
            :func:`~attnflow.data.split_lists.read_split_list` reads it, instead of ``splits``.
        loader: as for every data module, :class:`~attnflow.data.base.ImageDataModule`.
    """

    def __init__(
        self,
        data_dir: str,
        cache_dir: str,
        size: int = 16,
        stride: int = 8,
        eval_stride: int | None = None,
        long_side: int | None = None,
        channels: int = 3,
        num_bits: int = 8,
        convert: bool = False,
        background: str | int = "white",
        skip_corrupt: bool = False,
        max_train: int | None = None,
        max_val: int | None = None,
        max_test: int | None = None,
        splits: Mapping[str, str] | None = None,
        split_file: str | None = None,
        **loader: Unpack[LoaderOptions],
    ) -> None:
        super().__init__(**loader)
        most = {"max_train": max_train, "max_val": max_val, "max_test": max_test}
        strides = {"stride": stride, "eval_stride": eval_stride}
        others = {"cache_dir": cache_dir, "convert": convert, "skip_corrupt": skip_corrupt}
        named = {"splits": splits, "split_file": split_file}
        check_options(PatchesDataModule, others | named, "")
        check_choice("channels", channels, (1, 3))
        check_count("size", size, 2)
        for name, number in (strides | most).items():
            if number is not None or name == "stride":
                check_count(name, number)
        if long_side is not None:
            check_count("long_side", long_side, size)
        if splits is not None and split_file is not None:
            raise AttnFlowError(
                "data.split_file: expected no data.splits beside it, got "
                f"{split_file!r} and {splits!r}."
            )
        self.data_dir, self.cache_dir = data_folder(data_dir), absolute(cache_dir)
        self.split_names = None if splits is None else dict(splits)
        self.split_file = None if split_file is None else absolute(split_file)
        self.size, self.channels, self.num_bits = size, channels, check_num_bits(num_bits)
        evaluated = eval_stride or size
        self.cutting = Cutting(
            size=size,
            strides={"train": stride, "val": evaluated, "test": evaluated},
            most={"train": max_train, "val": max_val, "test": max_test},
            long_side=long_side,
            channels=channels,
            convert=convert,
            background=parse_background(background),
            skip_corrupt=skip_corrupt,
        )

    @property
    def spec(self) -> DataSpec:
        return DataSpec((self.channels, self.size, self.size), 2**self.num_bits)

    @property
    def settled(self) -> dict[str, object]:
        held = super().settled | {"cache_dir": str(self.cache_dir)}
        return held if self.split_file is None else held | {"split_file": str(self.split_file)}

    @property
    def writes_to(self) -> dict[str, Path]:
        return {} if self.cache.is_whole else {"cache_dir": self.cache_dir}

    @cached_property
    def found(self) -> dict[str, Found]:
        """The photographs of each split that has some, and what was left out."""
        if self.split_file is not None:
            return read_split_list(self.split_file, self.data_dir)
        return {split: self.splits.found(split) for split in self.splits.available}

    @cached_property
    def splits(self) -> Splits:
        """The photographs by split, where no list names them."""
        return Splits(self.data_dir, self.split_names, fewest=1)

    @cached_property
    def cache(self) -> PatchCache:
        """The patches of all splits."""
        files = {split: self.found[split].files for split in SPLITS if split in self.found}
        return PatchCache(self.cache_dir, files, self.cutting)

    def prepare_data(self) -> None:
        """Cut the patches, where these of these files are not there yet."""
        if self.cache.is_whole:
            return
        try:
            self.cache.make()
        except WriteError as error:
            raise AttnFlowError(
                f"{str(error).removesuffix('.')}; data.cache_dir=PATH names another folder for the "
                "patches (+data.cache_dir=PATH to eval.py)."
            ) from error

    def read(self, split: str) -> MappedImages:
        if split not in self.found:
            raise AttnFlowError(
                f"{self.named_by}: expected one photograph or more of the {split} split, got those "
                f"of {' and '.join(self.found)} alone."
            )
        self.prepare_data()
        rows = np.arange(self.cache.number(split))
        return MappedImages(self.cache.file(split), rows, self.num_bits)

    def traits(self, split: str) -> Iterable[bytes] | None:
        """What tells the photographs from others, which the patches are cut from."""
        found = self.found.get(split)
        return None if found is None else file_traits(found.folder, found.files)

    @property
    def named_by(self) -> str:
        """What says which photographs a split has."""
        return shown(self.data_dir if self.split_file is None else self.split_file)

    def origin(self, split: str) -> str:
        counts = self.cache.counts(split)
        return (
            f"{counts.photographs:,} photographs of {shown(self.found[split].folder)} "
            f"({counts.patches:,} patches)"
        )

    def remark(self, split: str) -> str:
        return self.splits.remark if self.split_file is None else ""

    def left_out(self, split: str) -> Counter[str]:
        damaged = self.cache.counts(split).damaged
        return self.found[split].left_out + Counter({"damaged": damaged})

    def further_counts(self, split: str) -> dict[str, int]:
        return {"photographs": self.cache.counts(split).photographs}


class NaturalDataModule(PatchesDataModule):
    """Patches of 37 wallpapers out of four Debian packages, 34 photographs and three drawings.

    The packages are plasma-workspace-wallpapers, lomiri-wallpapers-16.04, lomiri-wallpapers-20.04
    and mate-backgrounds. Fixed split, by image: 27 train, 4 validate, 6 test. Arguments are those
    of :class:`PatchesDataModule` without ``splits`` and ``split_file``, and

    Args:
        data_dir: the folder ``usr/share`` of the unpacked packages.
    """

    def __init__(self, data_dir: str, cache_dir: str, **options: Unpack[PatchOptions]) -> None:
        split_file = Path(__file__).with_name("natural_split.csv")
        super().__init__(data_dir, cache_dir, split_file=str(split_file), **options)

    @property
    def settled(self) -> dict[str, object]:
        return {name: value for name, value in super().settled.items() if name != "split_file"}

    @cached_property
    def found(self) -> dict[str, Found]:
        try:
            return super().found
        except AttnFlowError as error:
            reason = str(error).removesuffix(".")
            raise AttnFlowError(
                f"{reason}; make data-natural fetches the photographs on Debian 12."
            ) from error


def absolute(path: str) -> Path:
    """The absolute path that an option names; ``~`` is the user's home."""
    return Path(path).expanduser().absolute()
