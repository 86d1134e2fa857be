"""Parameters that are read under a condition, with or without classifier-free guidance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from attnflow.context import Context

__all__ = ["extrapolated", "guided", "linear", "readings"]

# (with a condition, without, weight) -> parameters beyond those with it
Extrapolation = Callable[[Tensor, Tensor, Tensor | float], Tensor]


def linear(conditional: Tensor, unconditional: Tensor, weight: Tensor | float) -> Tensor:
    """``conditional + weight (conditional - unconditional)``."""
    return conditional + weight * (conditional - unconditional)


def guided(
    read: Callable[[Context | None], Tensor],
    context: Context | None,
    beyond: Extrapolation = linear,
) -> Tensor:
    """Parameters under a context: ``cond + weight (cond - uncond)`` with guidance.

    Args:
        read: gives the parameters of an elementwise map, before they are bounded.
        context: the condition, with its :class:`~attnflow.context.Guidance` or without, or None.
        beyond: how the map's parameters are extrapolated.
    """
    return extrapolated([read(reading) for reading in readings(context)], context, beyond)


def readings(context: Context | None) -> list[Context | None]:
    """The contexts to read parameters under: this one and, with guidance, the one without."""
    if context is None or context.guidance is None:
        return [context]
    return [context, context.guidance.without]


def extrapolated(
    parameters: Sequence[Tensor], context: Context | None, beyond: Extrapolation = linear
) -> Tensor:
    """The parameters that the ones of all :func:`readings` of a context give."""
    if context is None or context.guidance is None:
        return parameters[0]
    conditional, unconditional = parameters
    return beyond(conditional, unconditional, context.guidance.weight)
