"""Conditioning on a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from attnflow.context import Context
from attnflow.errors import AttnFlowError
from attnflow.models.conditioning.base import Conditioning
from attnflow.spec import DataSpec

__all__ = ["ClassConditioning"]


class ClassConditioning(Conditioning):
    """A learned embedding of the label, at every position of every level.

    Args:
        spec: of data with ``num_classes``.
        context_channels: width of the embedding.
        conditions: the transforms that read it.
        condition_dropout, guidance, guidance_ramp: as for every :class:`Conditioning`.
    """

    def __init__(
        self,
        spec: DataSpec,
        context_channels: int = 16,
        conditions: Sequence[str] = ("coupling", "attention", "prior"),
        condition_dropout: float = 0.0,
        guidance: float = 0.0,
        guidance_ramp: bool = False,
    ) -> None:
        guided = condition_dropout, guidance, guidance_ramp
        super().__init__("label", context_channels, conditions, *guided)
        if spec.num_classes is None:
            raise AttnFlowError(
                "conditioning=class: expected a data set with labels (digits, cifar10, ...), got "
                "one without."
            )
        self.num_classes = spec.num_classes
        self.embedding = nn.Embedding(spec.num_classes, context_channels)

    def forward(self, batch: Mapping[str, Tensor]) -> Context:
        labels = self.read(batch)
        # Only on the CPU: on a GPU the check would synchronise, and the kernel asserts by itself.
        outside = (
            labels.device.type == "cpu"
            and len(labels)
            and (labels.min() < 0 or labels.max() >= self.num_classes)
        )
        if outside:
            raise AttnFlowError(
                f"class ids: expected 0 to {self.num_classes - 1}, got {labels.min()} to "
                f"{labels.max()}."
            )
        return Context(vector=self.embedding(labels.long()))
