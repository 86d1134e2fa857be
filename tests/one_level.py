"""A flow that is no Glow: one level, one latent, attention in one position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

from torch import Tensor, nn

from attnflow import Context, Flow, Placement
from attnflow.flows.memory import MEMORY
from attnflow.flows.placement import as_placements
from attnflow.nets import ConvNet
from attnflow.transforms import AffineCoupling, InvertibleConv1x1, Squeeze, Transform

CONDITIONABLE = ("coupling", "attention")


class OneLevel(Flow):
    """``x -> squeeze -> [permutation -> affine coupling -> attention] x steps -> z``."""

    POSITIONS = ("after_coupling",)

    def __init__(
        self,
        image_shape: Sequence[int],
        steps: int = 2,
        hidden_channels: int = 8,
        attention: Callable[..., Transform] | None = None,
        placement: str | Placement | Sequence[str | Placement] = "after_coupling",
        context_channels: int = 0,
        conditions: Sequence[str] = CONDITIONABLE,
        memory: str = "none",
    ) -> None:
        super().__init__(image_shape, context_channels)
        self.memory = memory
        channels, height, width = self.image_shape
        channels, size = 4 * channels, (height // 2, width // 2)
        self.latent_shape = (channels, *size)
        net = partial(ConvNet, hidden_channels=hidden_channels)
        widths = {name: context_channels * (name in conditions) for name in CONDITIONABLE}
        layers: list[Transform] = [Squeeze()]
        placements = as_placements(placement, self.POSITIONS, num_levels=1)
        for step in range(steps):
            layers.append(InvertibleConv1x1(channels, start="permutation"))
            layers.append(AffineCoupling(channels, net=net, context_channels=widths["coupling"]))
            chosen = any(each.selects("after_coupling", 0, step, steps) for each in placements)
            if attention is not None and chosen:
                place = {"parity": step % 2, "image_size": size}
                layers.append(attention(channels, **place, context_channels=widths["attention"]))
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[list[Tensor], Tensor]:
        z, log_det = MEMORY[self.memory](self.blocks(), x, context)
        return [z], log_det

    def inverse(self, latents: Sequence[Tensor], context: Context | None = None) -> Tensor:
        (x,) = latents
        for layer in reversed(self.blocks()):
            x = layer.inverse(x, context)
        return x

    def initialize_parameters(self, x: Tensor, context: Context | None = None) -> None:
        for layer in self.blocks():
            x = layer.initialize(x, context)

    def blocks(self) -> list[Transform]:
        return cast(list[Transform], list(self.layers))

    @property
    def latent_shapes(self) -> list[tuple[int, int, int]]:
        return [self.latent_shape]
