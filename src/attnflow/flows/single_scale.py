"""Flows of one scale: patches become tokens, and stay so."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from attnflow.context import Context
from attnflow.errors import ArgumentError, check_choice, check_count
from attnflow.flows.base import Flow, Shape
from attnflow.flows.memory import MEMORY, pieces
from attnflow.transforms.base import Composition, Transform

__all__ = ["SingleScale", "token_shape"]


class SingleScale(Flow):
    """``x -> patches -> transforms -> z``: one latent, all of whose values pass every transform.

    A subclass makes the transforms, of which the first takes patches to channels.

    Args:
        image_shape: (C, H, W) of an image.
        transforms: of images, in forward order.
        patch_size: p, the side of a patch.
        context_channels: width of the condition; 0 for an unconditional flow.
        memory: what training keeps for the gradients, of :data:`~attnflow.flows.memory.MEMORY`.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        transforms: Composition,
        patch_size: int,
        context_channels: int = 0,
        memory: str = "none",
    ) -> None:
        super().__init__(image_shape, context_channels)
        check_choice("memory", memory, MEMORY)
        self.transforms, self.memory = transforms, memory
        self.token_shape = token_shape(self.image_shape, patch_size)

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[list[Tensor], Tensor]:
        z, log_det = MEMORY[self.memory](self.blocks(), x, context)
        return [z], log_det

    def inverse(self, latents: Sequence[Tensor], context: Context | None = None) -> Tensor:
        (z,) = latents
        return self.transforms.inverse(z, context)

    def initialize_parameters(self, x: Tensor, context: Context | None = None) -> None:
        self.transforms.initialize(x, context)

    def blocks(self) -> list[Transform]:
        return pieces(self.transforms, self.memory)

    @property
    def latent_shapes(self) -> list[Shape]:
        return [self.token_shape]

    @property
    def map_sizes(self) -> list[tuple[int, int]]:
        return [self.token_shape[1:]]


def token_shape(image_shape: Shape, patch_size: int) -> Shape:
    """(C p p, H / p, W / p): the channels of a token, and the grid of tokens.

    Raises:
        ArgumentError: patches that do not fit the image, or fill it.
    """
    check_count("patch_size", patch_size)
    channels, height, width = image_shape
    if height % patch_size or width % patch_size or (height, width) == (patch_size, patch_size):
        raise ArgumentError(
            "patch_size",
            f"a divisor of both sides of the image, {height} x {width}, that leaves two patches or "
            "more",
            patch_size,
        )
    return channels * patch_size**2, height // patch_size, width // patch_size
