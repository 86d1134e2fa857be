"""A mixture of logistics: the logit of its CDF, that one's derivative, and its inverse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

__all__ = ["invert_mixture_logit", "mixture_logit"]


@torch.no_grad()
def mixture_logit(
    x: Tensor, mean: Tensor, log_scale: Tensor, log_weight: Tensor
) -> tuple[Tensor, Tensor]:
    """``logit(F(x))`` of a mixture of logistics, and the log of its derivative.

    Computed from log F and log (1 - F), so that saturated values keep their precision. Without
    gradients (:func:`~attnflow.transforms.maps.mixture_function.mixture_cdf` has them).

    Args:
        x: of any shape.
        mean, log_scale, log_weight: of the components, (K, ...), the rest broadcasting to x;
            weights sum to 1.

    Returns:
        Two tensors of x's shape.
    """
    at = Mixture.at(x, mean, log_scale, log_weight)
    return at.logit, at.log_slope


@dataclass(frozen=True)
class Mixture:
    """CDF, survival function and density of a mixture of logistics at x, each a sum over k.

    With ``sigmoid(t) = exp(min(t, 0)) sigmoid(|t|)`` the terms are exponentials with factors that
    are neither small nor large, so that the logs of the sums lose nothing.

    Attributes:
        t: (x - mean) / scale, (K, ...).
        inverse_scale: (K, ...).
        terms: of the three sums, up to a factor that a sum's terms share, (3, K, ...).
        totals: sums of the terms, (3, ...).
        logs: of CDF, survival function and density, (3, ...).
    """

    t: Tensor
    inverse_scale: Tensor
    terms: Tensor
    totals: Tensor
    logs: Tensor

    @classmethod
    def at(cls, x: Tensor, mean: Tensor, log_scale: Tensor, log_weight: Tensor) -> Mixture:
        inverse_scale = log_scale.neg().exp_()
        t = (x - mean).mul_(inverse_scale)
        below = t.clamp(max=0)
        above = below - t
        distance = below + above  # -|t|
        terms = torch.stack([below, above, distance]).add_(log_weight)
        largest = terms.amax(1)
        near = distance.neg_().sigmoid_()
        terms.sub_(largest[:, None]).exp_().mul_(near)
        terms[2].mul_(near).mul_(inverse_scale)
        totals = terms.sum(1)
        return cls(t, inverse_scale, terms, totals, totals.log() + largest)

    @property
    def logit(self) -> Tensor:
        return self.logs[0] - self.logs[1]

    @property
    def log_slope(self) -> Tensor:
        """Log of the logit's derivative."""
        return self.logs[2] - self.logs[0] - self.logs[1]

    def shares(self) -> Tensor:
        """The share of each term in its sum, (3, K, ...), over the terms themselves."""
        return self.terms.div_(self.totals[:, None])


@torch.no_grad()
def invert_mixture_logit(
    y: Tensor,
    mean: Tensor,
    log_scale: Tensor,
    log_weight: Tensor,
    start: Tensor | None = None,
    max_iterations: int = 100,
) -> Tensor:
    """x with ``mixture_logit(x)[0] == y``, to the precision of y's type.

    A single component has the inverse ``mean + scale y``, and where all components' CDFs lie
    above (below) a value so does their mixture: the least and the greatest of these inverses
    bracket the solution, and their weighted mean is a start. A Newton step that leaves the
    bracket, or that is not half as long as the step before, is replaced by bisection, which
    bounds the number of iterations. A value that is met up to rounding stays: what would follow
    is noise, and bisection would undo it.

    Newton's steps shrink as C step^2. So two of them tell how long a third would be, and where
    that is a rounding no more is taken.

    Args:
        y: of any shape.
        mean, log_scale, log_weight: of the components, as of :func:`mixture_logit`.
        start: where to begin instead, of y's shape; near the solution, it saves iterations.
        max_iterations: at most.
    """
    candidates = mean + log_scale.exp() * y
    low, high = candidates.amin(0), candidates.amax(0)
    if start is None:
        start = (log_weight.exp() * candidates).sum(0)
    x = start.clamp(low, high)
    logit = logit_within(y, mean, log_scale, log_weight)
    change, last_newton = high - low, torch.zeros_like(y)
    tolerance = 4 * torch.finfo(y.dtype).eps
    rounding = tolerance * (1 + y.abs())
    for _ in range(max_iterations):
        value, inverse_slope = logit(x)
        error = y - value
        rises = error > 0
        low, high = torch.where(rises, x, low), torch.where(rises, high, x)
        step = error * inverse_slope
        new = x + step
        newton = (new >= low) & (new <= high) & (step.abs() <= change / 2)
        new = torch.where(newton, new, (low + high) / 2)
        new = torch.where(error.abs() <= rounding, x, new)
        change = (new - x).abs()
        x = new
        allowed = tolerance * (1 + x.abs())
        if ((change <= allowed) | (newton & (change**3 <= allowed * last_newton**2))).all():
            break
        last_newton = torch.where(newton, change, 0)
    return x


def logit_within(
    y: Tensor, mean: Tensor, log_scale: Tensor, log_weight: Tensor
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """What gives the logit of the CDF and the inverse of its slope between the components' y's.

    There, CDF and survival function are at least a component's weight times ``sigmoid(-|y|)``.
    Where that is far above the type's least number their sums lose nothing, at less than half of
    the cost of the sums of their logs.
    """
    smallest = -math.log(torch.finfo(y.dtype).tiny)
    if float(y.abs().amax() - log_weight.amin()) > smallest - 5:
        return partial(careful_logit, mean=mean, log_scale=log_scale, log_weight=log_weight)
    weight, inverse_scale = log_weight.exp(), log_scale.neg().exp_()
    return partial(
        plain_logit,
        mean=mean,
        inverse_scale=inverse_scale,
        weight=weight,
        height=weight * inverse_scale,
    )


def careful_logit(
    x: Tensor, mean: Tensor, log_scale: Tensor, log_weight: Tensor
) -> tuple[Tensor, Tensor]:
    """The logit and the inverse of its slope, by logs."""
    logit, log_slope = mixture_logit(x, mean, log_scale, log_weight)
    return logit, log_slope.neg().exp_()


def plain_logit(
    x: Tensor, mean: Tensor, inverse_scale: Tensor, weight: Tensor, height: Tensor
) -> tuple[Tensor, Tensor]:
    """The logit and the inverse of its slope, by sums; ``height`` is weight over scale."""
    t = (x - mean).mul_(inverse_scale)
    below, above = t.sigmoid(), t.neg_().sigmoid_()
    cdf, survival = (weight * below).sum(0), (weight * above).sum(0)
    density = below.mul_(above).mul_(height).sum(0)
    return (cdf / survival).log_(), cdf.mul_(survival).div_(density)
