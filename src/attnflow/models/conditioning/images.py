"""Conditioning on an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from attnflow.context import Context
from attnflow.errors import AttnFlowError
from attnflow.models.conditioning.base import Conditioning
from attnflow.nets import GatedResNet
from attnflow.spec import DataSpec

__all__ = ["ImageConditioning"]


class ImageConditioning(Conditioning):
    """A network that reads the condition image, with features for every level of the flow.

    As in Full-Glow (Sorkhei et al., 2021), the features condition every operation of a step.
    Every level squeezes what the level before it made and goes on from there.

    Args:
        spec: of data with a ``condition_shape`` of the images' sides.
        levels: of the flow.
        context_channels: width of the features at each level.
        num_blocks: residual blocks at each level.
        dropout: of the blocks.
        conditions: the transforms that read the features.
    """

    def __init__(
        self,
        spec: DataSpec,
        levels: int = 2,
        context_channels: int = 32,
        num_blocks: int = 1,
        dropout: float = 0.0,
        conditions: Sequence[str] = ("actnorm", "conv1x1", "coupling", "attention", "prior"),
    ) -> None:
        super().__init__("condition", context_channels, conditions)
        if spec.condition_shape is None or spec.condition_shape[1:] != spec.image_shape[1:]:
            raise AttnFlowError(
                f"conditioning is image, but the data set's condition has shape "
                f"{spec.condition_shape}; condition images with the sides of the images, "
                f"{spec.image_shape[1]} x {spec.image_shape[2]}, are accepted."
            )
        self.shape, self.num_bins = tuple(spec.condition_shape), spec.condition_bins
        widths = [spec.condition_shape[0], *[context_channels] * (levels - 1)]
        self.encoders = nn.ModuleList(
            GatedResNet(4 * width, context_channels, 2 * context_channels, num_blocks, dropout)
            for width in widths
        )
        for encoder in self.encoders:
            # A coupling net starts at zero; features that start there would teach nothing.
            encoder.layers[-1].reset_parameters()

    def forward(self, batch: Mapping[str, Tensor]) -> Context:
        condition = self.read(batch)
        if condition.shape[1:] != self.shape:
            raise AttnFlowError(
                f"the condition images have shape {tuple(condition.shape[1:])}; {self.shape} is "
                "accepted."
            )
        dtype = next(self.parameters()).dtype
        features = 2 * condition.to(dtype) / (self.num_bins - 1) - 1
        maps = []
        for encoder in self.encoders:
            features = encoder(F.pixel_unshuffle(features, 2))
            # In full precision whatever the autocast: determinants are computed from them.
            maps.append(features.to(dtype))
        return Context(maps=tuple(maps))
