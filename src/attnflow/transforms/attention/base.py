"""The base of all attentions: a mask that halves the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attnflow.context import Context, with_condition
from attnflow.errors import AttnFlowError
from attnflow.transforms.attention.masks import attention_mask
from attnflow.transforms.base import Transform

__all__ = ["MaskedTransform"]


class MaskedTransform(Transform):
    """A transform of one half of an image that reads the other half, which its mask M marks.

    Args:
        num_channels: C of the images.
        image_size: (H, W) of the feature map.
        parity: 0 or 1; alternate it from one attention to the next.
        mask: ``checkerboard``, ``coarse``, ``channel`` or ``spatial``, of
            :func:`~attnflow.transforms.attention.masks.attention_mask`.
        context_channels: width of the condition that is read beside the half; 0 for none.

    Attributes:
        mask: M, bool, (C, H, W); True where the attention reads.
    """

    mask: Tensor

    def __init__(
        self,
        num_channels: int,
        image_size: Sequence[int],
        parity: int = 0,
        mask: str = "checkerboard",
        context_channels: int = 0,
    ) -> None:
        super().__init__()
        self.num_channels, self.context_channels = num_channels, context_channels
        self.mask_name, self.parity = mask, parity
        found = attention_mask(mask, parity, (num_channels, *image_size))
        self.register_buffer("mask", found.to(torch.get_default_device()), persistent=False)

    def masked(self, x: Tensor) -> Tensor:
        """``M x``, the half that is read, zeros elsewhere; x is (B, C, H, W).

        Raises:
            AttnFlowError: x has another shape than the mask.
        """
        if x.shape[1:] != self.mask.shape:
            raise AttnFlowError(
                f"x: expected a batch of {_times(self.mask.shape)} values (channels x height x "
                f"width), got {_times(x.shape[1:])}."
            )
        return x * self.mask

    def read(self, x: Tensor, context: Context | None) -> Tensor:
        """``M x`` with the condition's map appended: (B, C + context_channels, H, W)."""
        return with_condition(self.masked(x), context, self.context_channels)

    def extra_repr(self) -> str:
        return f"{self.num_channels}, mask={self.mask_name}, parity={self.parity}"


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))
