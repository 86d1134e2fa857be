"""The condition of a conditional flow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from attnflow.errors import AttnFlowError

__all__ = ["Context", "required", "with_condition"]


@dataclass(frozen=True)
class Context:
    """A condition: a vector, feature maps of every level, or both.

    Attributes:
        vector: shape (B, D), one vector a sample (a class embedding), or None.
        maps: one (B, F_l, H_l, W_l) tensor a level (an encoded image), or empty.

    A transform reads its condition through one of two views, whose width is the
    same number ``context_channels`` = D + F: :meth:`as_map` for convolutions and
    :meth:`as_vector` for linear layers.
    """

    vector: Tensor | None = None
    maps: tuple[Tensor, ...] = ()

    def at_level(self, level: int) -> Context:
        """The context that the transforms of one level see."""
        return Context(self.vector, self.maps[level : level + 1])

    def extended(self, features: Tensor | None) -> Context:
        """This (one-level) context with ``features`` (B, F, H, W) appended to its map."""
        if features is None:
            return self
        maps = (torch.cat([*self.maps, features], 1),) if self.maps else (features,)
        return Context(self.vector, maps)

    def as_map(self, height: int, width: int) -> Tensor:
        """The condition at every position: shape (B, D + F, height, width)."""
        parts = []
        if self.vector is not None:
            parts.append(self.vector[:, :, None, None].expand(-1, -1, height, width))
        if self.maps:
            features = self.maps[0]
            if features.shape[-2:] != (height, width):
                features = F.adaptive_avg_pool2d(features, (height, width))
            parts.append(features)
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def as_vector(self) -> Tensor:
        """The condition pooled over positions: shape (B, D + F)."""
        parts = [] if self.vector is None else [self.vector]
        if self.maps:
            parts.append(self.maps[0].mean((2, 3)))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def index(self, rows: Tensor | slice) -> Context:
        """The context of some of the samples."""
        vector = None if self.vector is None else self.vector[rows]
        return Context(vector, tuple(features[rows] for features in self.maps))

    def repeat(self, times: int) -> Context:
        """Every sample's context ``times`` times over, neighbours first."""
        vector = None if self.vector is None else self.vector.repeat_interleave(times, 0)
        return Context(vector, tuple(m.repeat_interleave(times, 0) for m in self.maps))

    def __len__(self) -> int:
        return len(self.vector if self.vector is not None else self.maps[0])


def with_condition(features: Tensor, context: Context | None, context_channels: int) -> Tensor:
    """``features`` (B, C, H, W), the condition's map appended if there is one to read.

    Raises:
        AttnFlowError: a layer that was built for a condition got none.
    """
    if not context_channels:
        return features
    condition = required(context).as_map(*features.shape[2:]).to(features.dtype)
    return torch.cat([features, condition], 1)


def required(context: Context | None) -> Context:
    """The context of a layer that was built for one; raises :class:`AttnFlowError` for None."""
    if context is None:
        raise AttnFlowError("context: expected a Context, as this layer is conditional, got None.")
    return context
