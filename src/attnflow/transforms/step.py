"""One step of a flow, its activation normalisation folded into the 1x1 convolution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise

from torch import Tensor, nn

from attnflow.context import Context
from attnflow.transforms.actnorm import ActNorm
from attnflow.transforms.base import Composition, Transform, zero_log_det
from attnflow.transforms.conv1x1 import InvertibleConv1x1

__all__ = ["Step", "unfolded"]


class Step(Composition):
    """The transforms of a step, in order; an ActNorm right before a 1x1 convolution costs nothing.

    ``W (s (x + b)) = (W diag(s)) x + W diag(s) b``: one matrix product does the work of both, in
    either direction. They stay apart where the normalisation differs from position to position (a
    condition that is a feature map), and while the parts are watched (:func:`unfolded`).

    Args:
        transforms: by name, in forward order.
    """

    def __init__(self, transforms: Mapping[str, Transform]) -> None:
        super().__init__(transforms)
        self.folds = True
        self.pair_names = foldable(transforms)

    def forward(self, x: Tensor, context: Context | None = None) -> tuple[Tensor, Tensor]:
        pair = self._folded_pair(context)
        if pair is None:
            return super().forward(x, context)
        norm, conv = pair
        total = zero_log_det(x)
        for part in self.parts():
            if part is norm:
                continue
            further = (norm.per_channel(x, context),) if part is conv else ()
            x, log_det = part(x, context, *further)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor, context: Context | None = None) -> Tensor:
        pair = self._folded_pair(context)
        if pair is None:
            return super().inverse(z, context)
        norm, conv = pair
        for part in reversed(self.parts()):
            if part is conv:
                z = conv.inverse(z, context, norm.per_channel(z, context))
            elif part is not norm:
                z = part.inverse(z, context)
        return z

    def _folded_pair(self, context: Context | None) -> tuple[ActNorm, InvertibleConv1x1] | None:
        """The normalisation and the 1x1 convolution that are one product, if they are."""
        if self.pair_names is None or not self.folds:
            return None
        norm, conv = (getattr(self, name) for name in self.pair_names)
        return None if norm.varies(context) else (norm, conv)


def foldable(transforms: Mapping[str, Transform]) -> tuple[str, str] | None:
    """The names of an ActNorm and of the 1x1 convolution right after it, if there are such."""
    for (first, norm), (second, conv) in pairwise(transforms.items()):
        # A subclass may map otherwise, so only these very classes fold.
        if (type(norm), type(conv)) == (ActNorm, InvertibleConv1x1):
            return first, second
    return None


@contextmanager
def unfolded(model: nn.Module) -> Iterator[None]:
    """Run every part of every step of a model by itself, so that forward hooks see all of them."""
    steps = [module for module in model.modules() if isinstance(module, Step)]
    for step in steps:
        step.folds = False
    try:
        yield
    finally:
        for step in steps:
            step.folds = True
