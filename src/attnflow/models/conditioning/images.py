"""Conditioning on an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from attnflow.context import Context
from attnflow.errors import AttnFlowError
from attnflow.models.conditioning.base import Conditioning
from attnflow.nets import GatedResNet
from attnflow.spec import DataSpec

__all__ = ["ImageConditioning"]


class ImageConditioning(Conditioning):
    """Networks that read the condition image, one for each feature map of the flow.

    As in Full-Glow (Sorkhei et al., 2021), the features condition every operation of a step.
    Each network squeezes what the one before it made to the sides of its map.

    Args:
        spec: of data with a ``condition_shape`` of the images' sides.
        context_channels: width of each map.
        num_blocks: residual blocks of each network.
        dropout: of the blocks.
        conditions: the transforms that read the features.
        condition_dropout, guidance, guidance_ramp: as for every :class:`Conditioning`.
    """

    encoders: nn.ModuleList
    factors: list[int]

    def __init__(
        self,
        spec: DataSpec,
        context_channels: int = 32,
        num_blocks: int = 1,
        dropout: float = 0.0,
        conditions: Sequence[str] = ("actnorm", "conv1x1", "coupling", "attention", "prior"),
        condition_dropout: float = 0.0,
        guidance: float = 0.0,
        guidance_ramp: bool = False,
    ) -> None:
        guided = condition_dropout, guidance, guidance_ramp
        super().__init__("condition", context_channels, conditions, *guided)
        if spec.condition_shape is None or spec.condition_shape[1:] != spec.image_shape[1:]:
            raise AttnFlowError(
                "conditioning=image: expected condition images with the sides of the images, "
                f"{spec.image_shape[1]} x {spec.image_shape[2]}, got a condition of shape "
                f"{spec.condition_shape}."
            )
        self.shape, self.num_bins = tuple(spec.condition_shape), cast(int, spec.condition_bins)
        self.num_blocks, self.dropout = num_blocks, dropout

    def build(self, map_sizes: Sequence[tuple[int, int]]) -> None:
        self.encoders, self.factors = nn.ModuleList(), []
        width = self.context_channels
        channels, *sides = self.shape
        for size in map_sizes:
            factor = sides[0] // size[0]
            if [factor * side for side in size] != sides:
                raise AttnFlowError(
                    f"map_sizes: expected each a whole fraction of the one before, of {self.shape} "
                    f"first, got {list(map_sizes)}."
                )
            encoder = GatedResNet(
                factor**2 * channels, width, 2 * width, self.num_blocks, self.dropout
            )
            # A coupling net starts at zero; features that start there would teach nothing.
            cast(nn.Conv2d, encoder.layers[-1]).reset_parameters()
            self.encoders.append(encoder)
            self.factors.append(factor)
            channels, sides = width, list(size)

    def forward(self, batch: Mapping[str, Tensor]) -> Context:
        condition = self.read(batch)
        if condition.shape[1:] != self.shape:
            raise AttnFlowError(
                f"the condition images: expected shape {self.shape}, got shape "
                f"{tuple(condition.shape[1:])}."
            )
        dtype = next(self.parameters()).dtype
        features = 2 * condition.to(dtype) / (self.num_bins - 1) - 1
        maps = []
        for encoder, factor in zip(self.encoders, self.factors, strict=True):
            features = encoder(F.pixel_unshuffle(features, factor))
            # Kept in full precision under autocast, as determinants are computed from them.
            maps.append(features.to(dtype))
        return Context(maps=tuple(maps))
