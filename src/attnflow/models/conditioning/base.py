"""The base of all conditionings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from attnflow.context import Context
from attnflow.errors import AttnFlowError, check_least

__all__ = ["Conditioning"]


class Conditioning(nn.Module):
    """Makes a :class:`~attnflow.context.Context` of a batch.

    Args:
        field: the entry of a batch that is read, ``label`` or ``condition``.
        context_channels: width of the context.
        conditions: the transforms that read it, of those that the flow names.
    """

    def __init__(self, field: str, context_channels: int, conditions: Sequence[str]) -> None:
        super().__init__()
        check_least("context_channels", context_channels, 1)
        self.field, self.context_channels = field, context_channels
        self.conditions = tuple(conditions)

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
