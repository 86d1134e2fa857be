"""An attention, a coupling and a data set as a user adds them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from attnflow.context import Context
from attnflow.data import ImageDataModule
from attnflow.data.samples import TensorImages
from attnflow.spec import DataSpec
from attnflow.transforms import Transform


class Scaling(Transform):
    """``z = exp(s) x``: an attention that looks nowhere, and is drawn all the same."""

    def __init__(
        self, num_channels: int, parity: int, image_size: tuple[int, int], context_channels: int
    ) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(num_channels, *image_size))

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        return x * self.log_scale.exp(), self.log_scale.sum().expand(len(x))

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        return z / self.log_scale.exp()

    def attention_map(self, x: Tensor, context: Context | None = None) -> Tensor:
        return self.log_scale.exp().mean(0).expand(len(x), 1, -1, -1)


class Shear(Transform):
    """``z = (x1, x2 + w x1)``: a coupling without a net."""

    def __init__(self, num_channels: int, context_channels: int) -> None:
        super().__init__()
        half = num_channels // 2
        self.weight = nn.Parameter(torch.zeros(half, half))

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        return self._moved(x, 1), x.new_zeros(len(x))

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        return self._moved(z, -1)

    def _moved(self, x: Tensor, sign: int) -> Tensor:
        first, second = x.chunk(2, 1)
        return torch.cat(
            [first, second + sign * torch.einsum("ij,bjhw->bihw", self.weight, first)], 1
        )


class Stripes(ImageDataModule):
    """Images of four grey levels, each column of one."""

    @property
    def spec(self) -> DataSpec:
        return DataSpec(image_shape=(1, 4, 4), num_bins=4)

    def read(self, split: str) -> Dataset:
        columns = torch.randint(4, (256, 1, 1, 4), generator=torch.Generator().manual_seed(0))
        return TensorImages(columns.expand(-1, -1, 4, -1).contiguous().to(torch.uint8))
