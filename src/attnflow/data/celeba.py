"""CelebA faces."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from torch import Tensor
from torchvision.transforms.v2 import functional as F

from attnflow.data.base import SPLITS
from attnflow.data.decoding import decode
from attnflow.data.finding import FileList, Found, shown
from attnflow.data.image_files import ImageFilesDataModule
from attnflow.errors import AttnFlowError

__all__ = ["CelebADataModule"]

CROP = 140  # pixels of the aligned 178 x 218 images, the usual centre crop
PARTITION = "list_eval_partition.txt"
IMAGES = "img_align_celeba"


class CelebADataModule(ImageFilesDataModule):
    """Aligned CelebA: 162,770 + 19,867 + 19,962 faces, the official split.

    CelebA is not downloaded: ``img_align_celeba/`` and ``list_eval_partition.txt`` of the official
    release lie in ``data_dir``. The faces are the centres of 140 x 140 pixels, then scaled to
    ``size``. Arguments are those of :class:`~attnflow.data.image_files.ImageFilesDataModule`.
    """

    def prepare_data(self) -> None:
        for name in (PARTITION, IMAGES):
            if not (self.data_dir / name).exists():
                raise AttnFlowError(
                    f"CelebA in {shown(self.data_dir)} (data.data_dir): expected {IMAGES}/ and "
                    f"{PARTITION} of the official release, got no {name}."
                )

    def found(self, split: str) -> Found:
        self.prepare_data()
        number = str(SPLITS.index(split))  # 0 train, 1 val, 2 test, as in the file
        lines = [line.split() for line in (self.data_dir / PARTITION).read_text().splitlines()]
        names = [line[0] for line in lines if len(line) == 2 and line[1] == number]
        if not names:
            raise AttnFlowError(
                f"{self.data_dir / PARTITION}: expected lines of a file name and 0, 1 or 2, got "
                f"none of the {split} split."
            )
        folder = self.data_dir / IMAGES
        return Found(folder, FileList(folder, (str(folder / name) for name in names)))

    @cached_property
    def image_size(self) -> tuple[int, int]:
        """(height, width); of the crop where ``size`` is None."""
        side = CROP if self.size is None else self.size
        return side, side

    def sample(self, file: Path) -> dict[str, Tensor]:
        whole = decode(file, self.channels, self.convert, self.background)
        face = F.center_crop(whole, [CROP, CROP])
        return {"image": self.fitted(face, file, self.num_bits)}
