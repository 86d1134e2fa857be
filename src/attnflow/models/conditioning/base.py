"""The base of all conditionings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from attnflow.context import Context, Guidance
from attnflow.errors import ArgumentError, AttnFlowError, check_least
from attnflow.nets.layers import check_dropout

__all__ = ["Conditioning"]


class Conditioning(nn.Module):
    """Makes a :class:`~attnflow.context.Context` of a batch.

    Args:
        field: the entry of a batch that is read, ``label`` or ``condition``.
        context_channels: width of the context.
        conditions: the transforms that read it, of those that the flow names.
        condition_dropout: share of training samples whose condition is replaced by a learned
            one of none, so that the model is of images without a condition, too.
        guidance: weight of the :class:`~attnflow.context.Guidance` of samples, where whoever
            draws them names none; 0 for none.
        guidance_ramp: whether it grows over the tokens of an autoregressive block.

    Attributes:
        nothing: what stands in a condition's place, (context_channels,), in a vector and at
            every position of maps; None without condition dropout.
    """

    nothing: nn.Parameter | None

    def __init__(
        self,
        field: str,
        context_channels: int,
        conditions: Sequence[str],
        condition_dropout: float = 0.0,
        guidance: float = 0.0,
        guidance_ramp: bool = False,
    ) -> None:
        super().__init__()
        check_least("context_channels", context_channels, 1)
        self.field, self.context_channels = field, context_channels
        self.conditions = tuple(conditions)
        check_dropout(condition_dropout, "condition_dropout")
        self.condition_dropout = condition_dropout
        # Zeros lie in the middle of embeddings and features, and are no condition's own.
        nothing = torch.zeros(context_channels)
        self.nothing = nn.Parameter(nothing) if condition_dropout else None
        self.check_guidance(guidance)
        self.guidance, self.guidance_ramp = guidance, guidance_ramp

    def build(self, map_sizes: Sequence[tuple[int, int]]) -> None:
        """Make the networks of the flow's feature maps, (H, W) of each, where there are such."""

    def read(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The entry of ``batch`` that is the condition; raises where it is missing."""
        if self.field not in batch:
            raise AttnFlowError(
                f"the batch: expected {self.field!r}, on which this flow is conditioned, got "
                f"{', '.join(sorted(batch))}."
            )
        return batch[self.field]

    def forward(self, batch: Mapping[str, Tensor]) -> Context:
        """The context of every sample of a batch."""
        raise NotImplementedError

    def without(self, context: Context) -> Context:
        """The learned context of no condition, of the shapes of another.

        Raises:
            AttnFlowError: it has not been learned, without condition dropout.
        """
        nothing = self.nothing
        if nothing is None:
            raise AttnFlowError("condition_dropout: expected above 0 for a context without.")
        vector = None if context.vector is None else nothing.expand_as(context.vector)
        return Context(vector, tuple(nothing[:, None, None].expand_as(m) for m in context.maps))

    def drop(self, context: Context, dropped: Tensor) -> Context:
        """The context, in which some samples have no condition.

        Args:
            context: of B samples.
            dropped: whether each has none, bool (B,).
        """
        other, vector = self.without(context), context.vector
        if vector is not None and other.vector is not None:
            vector = torch.where(dropped[:, None], other.vector, vector)
        pairs, rows = zip(other.maps, context.maps, strict=True), dropped[:, None, None, None]
        return Context(vector, tuple(torch.where(rows, none, own) for none, own in pairs))

    def guided(self, context: Context | None, weight: float | None = None) -> Context | None:
        """The context of samples that guidance draws beyond their condition.

        Args:
            context: of the samples.
            weight: of the guidance, 0 for none; None for :attr:`guidance`.

        Raises:
            AttnFlowError: no such weight, or no condition dropout in the model's training.
        """
        weight = self.guidance if weight is None else weight
        self.check_guidance(weight)
        if context is None or not weight:
            return context
        guidance = Guidance(float(weight), self.without(context), self.guidance_ramp)
        return replace(context, guidance=guidance)

    def check_guidance(self, weight: Any) -> None:
        """Raise :class:`ArgumentError` for a weight that samples can not be guided by."""
        number = isinstance(weight, Real) and not isinstance(weight, bool)
        if not number or weight < 0 or not weight < math.inf:
            raise ArgumentError("guidance", "a weight of 0 or more", weight)
        if weight and self.nothing is None:
            expected = "0 of a model that was trained without condition_dropout"
            raise ArgumentError("guidance", expected, weight)
