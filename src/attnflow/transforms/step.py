"""One step of a flow, its activation normalisation folded into the 1x1 convolution."""

from __future__ import annotations

from torch import Tensor

from attnflow.context import Context
from attnflow.transforms.actnorm import ActNorm
from attnflow.transforms.base import Composition, Transform
from attnflow.transforms.conv1x1 import InvertibleConv1x1

__all__ = ["Step"]


class Step(Composition):
    """The transforms of a step, in order; an ActNorm right before a 1x1 convolution costs nothing.

    ``W (s (x + b)) = (W diag(s)) x + W diag(s) b``: one matrix product does the work of both, in
    either direction. They stay apart where the normalisation differs from position to position (a
    condition that is a feature map), and where a hook watches one of them.

    Args:
        transforms: by name, in forward order.
    """

    def _runs(self, x: Tensor, context: Context | None) -> list[tuple[Transform, tuple]]:
        """Transforms, but for a norm that its 1x1 convolution has as a further argument."""
        runs: list[tuple[Transform, tuple]] = []
        for transform in self.children():
            norm = ()
            if runs and _may_fold(runs[-1][0], transform):
                shift, log_scale = runs[-1][0].shift_and_log_scale(context, x)
                if shift.shape[2:].numel() == 1:
                    norm = ((shift.flatten(1), log_scale.flatten(1)),)
                    runs.pop()
            runs.append((transform, norm))
        return runs


def _may_fold(first: Transform, second: Transform) -> bool:
    # Of these very classes: a subclass may do something else.
    kinds = type(first) is ActNorm and type(second) is InvertibleConv1x1
    return kinds and not any(_watched(each) for each in (first, second))


def _watched(transform: Transform) -> bool:
    return bool(transform._forward_hooks or transform._forward_pre_hooks)
