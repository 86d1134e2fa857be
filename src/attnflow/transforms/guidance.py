"""Parameters that are read under a condition, with or without classifier-free guidance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from attnflow.context import Context

__all__ = ["extrapolated", "guided", "readings"]


def guided(read: Callable[[Context | None], Tensor], context: Context | None) -> Tensor:
    """Parameters under a context: ``cond + weight (cond - uncond)`` with guidance.

    Args:
        read: gives the parameters of an elementwise map, before they are bounded.
        context: the condition, with its :class:`~attnflow.context.Guidance` or without, or None.
    """
    return extrapolated([read(reading) for reading in readings(context)], context)


def readings(context: Context | None) -> list[Context | None]:
    """The contexts to read parameters under: this one and, with guidance, the one without."""
    if context is None or context.guidance is None:
        return [context]
    return [context, context.guidance.without]


def extrapolated(parameters: Sequence[Tensor], context: Context | None) -> Tensor:
    """The parameters that the ones of all :func:`readings` of a context give."""
    if context is None or context.guidance is None:
        return parameters[0]
    conditional, unconditional = parameters
    return conditional + context.guidance.weight * (conditional - unconditional)
