"""The condition of a conditional flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from attnflow.errors import AttnFlowError

__all__ = ["Context", "Guidance", "required", "with_condition"]


@dataclass(frozen=True)
class Context:
    """A condition: a vector, feature maps of every level, or both.

    Attributes:
        vector: shape (B, D), one vector a sample (a class embedding), or None.
        maps: one (B, F_l, H_l, W_l) tensor a level (an encoded image), or empty.
        guidance: how far to go beyond the condition; None for the condition itself.

    A transform reads its condition through one of two views, whose width is the
    same number ``context_channels`` = D + F: :meth:`as_map` for convolutions and
    :meth:`as_vector` for linear layers.
    """

    vector: Tensor | None = None
    maps: tuple[Tensor, ...] = ()
    guidance: Guidance | None = None

    def at_level(self, level: int) -> Context:
        """The context that the transforms of one level see."""
        guidance = self.guidance and self.guidance.of(lambda context: context.at_level(level))
        return Context(self.vector, self.maps[level : level + 1], guidance)

    def extended(self, features: Tensor | None) -> Context:
        """This (one-level) context with ``features`` (B, F, H, W) appended to its map."""
        if features is None:
            return self
        maps = (torch.cat([*self.maps, features], 1),) if self.maps else (features,)
        guidance = self.guidance and self.guidance.of(lambda context: context.extended(features))
        return Context(self.vector, maps, guidance)

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
        guidance = self.guidance and self.guidance.of(lambda context: context.index(rows))
        return Context(vector, tuple(features[rows] for features in self.maps), guidance)

    def repeat(self, times: int) -> Context:
        """Every sample's context ``times`` times over, neighbours first."""
        vector = None if self.vector is None else self.vector.repeat_interleave(times, 0)
        guidance = self.guidance and self.guidance.of(lambda context: context.repeat(times))
        return Context(vector, tuple(m.repeat_interleave(times, 0) for m in self.maps), guidance)

    def __len__(self) -> int:
        return len(self.vector if self.vector is not None else self.maps[0])


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance: ``parameters = cond + weight (cond - uncond)``.

    Of every conditional elementwise map (couplings, autoregressive blocks, priors, actnorm) the
    parameters that its network gives, before the map bounds them, are extrapolated away from
    those without a condition: any weight leaves the map valid and the flow exactly invertible.
    An affine map's are the mean and log standard deviation of x, those of a mixture CDF its means,
    log-scales and logits, and the affine map's of its logit
    (:meth:`~attnflow.transforms.maps.ElementwiseMap.beyond`).
    1x1 convolutions and attentions, which mix values, read the condition as it is. The guided
    flow's density is no longer the model's, so only sampling uses it. Ho and Salimans,
    Classifier-Free Diffusion Guidance (2022); Zhai et al., TarFlow (2024).

    Attributes:
        weight: 0 or more.
        without: the context of no condition, of the same shapes.
        ramped: whether the weight grows over the tokens of an autoregressive block, from 0 at
            the first to its whole at the last, as in TarFlow. Couplings, which have no order,
            use the whole.
    """

    weight: float
    without: Context
    ramped: bool = False

    def of(self, change: Callable[[Context], Context]) -> Guidance:
        """The same, of a changed context without the condition."""
        return replace(self, without=change(self.without))

    def over_tokens(self, num_tokens: int, like: Tensor) -> Tensor:
        """The weight of every token of an autoregressive block, (T,)."""
        start = 0.0 if self.ramped else self.weight
        return torch.linspace(start, self.weight, num_tokens, dtype=like.dtype, device=like.device)


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
