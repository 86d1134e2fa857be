"""The mixture-of-logistics CDF map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from attnflow.errors import check_least
from attnflow.transforms.base import full_precision
from attnflow.transforms.guidance import linear
from attnflow.transforms.maps.affine import AffineMap
from attnflow.transforms.maps.base import ElementwiseMap, bounded, near_bound

__all__ = ["MixtureCDFMap", "invert_mixture_logit", "mixture_logit"]

AFFINE = AffineMap()  # what follows the mixture
LARGEST_COMPONENT_LOG_SCALE = 3.0


@dataclass(frozen=True)
class MixtureCDFMap(ElementwiseMap):
    """``z = logit(sum_k pi_k sigmoid((x - mu_k) / s_k)) exp(a) + b``.

    Ho et al., Flow++ (2019), section 3.2: the CDF of a mixture of K logistics bends each value,
    then an affine map follows. The inverse has no closed form; it is found to the precision of
    the type by a bracketed Newton iteration over all values at once
    (:func:`invert_mixture_logit`). Parameters: (b, raw a, means, raw log-scales, logits).

    Args:
        num_components: K, 1 or more.
    """

    num_components: int = 8

    def __post_init__(self) -> None:
        check_least("num_components", self.num_components, 1)

    @property
    def num_parameters(self) -> int:
        return AFFINE.num_parameters + 3 * self.num_components

    def start(self) -> Tensor:
        """Initial parameters whose components differ, or they would all learn the same."""
        k = self.num_components
        affine = torch.zeros(AFFINE.num_parameters)
        return torch.cat([affine, torch.linspace(-2, 2, k), torch.full((k,), -0.5), torch.zeros(k)])

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            affine, mixture = self._split(parameters)
            bent, log_derivative = mixture_logit(x, *mixture)
            z, log_scale = AFFINE.forward(bent, affine)
            return z, log_derivative + log_scale

    def inverse(self, z: Tensor, parameters: Tensor) -> Tensor:
        with full_precision(z):
            affine, mixture = self._split(parameters)
            return invert_mixture_logit(AFFINE.inverse(z, affine), *mixture)

    def at_bound(self, parameters: Tensor) -> Tensor:
        """Where the affine map's scale has reached its bound, or that of any component."""
        affine, _, raw, _ = self._pieces(parameters)
        components = near_bound(raw, LARGEST_COMPONENT_LOG_SCALE).any(0)
        return AFFINE.at_bound(affine) | components

    def beyond(self, conditional: Tensor, unconditional: Tensor, weight: Tensor | float) -> Tensor:
        """The parameters of guidance: the affine map's, and the mixture's as they are."""
        k = AFFINE.num_parameters
        affine = AFFINE.beyond(conditional[:k], unconditional[:k], weight)
        return torch.cat([affine, linear(conditional[k:], unconditional[k:], weight)])

    def _split(self, parameters: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """The affine map's parameters; means, log-scales and log-weights, (K, ...) each."""
        affine, mean, raw, logits = self._pieces(parameters)
        log_scale = bounded(raw, LARGEST_COMPONENT_LOG_SCALE)
        return affine, (mean, log_scale, F.log_softmax(logits, 0))

    def _pieces(self, parameters: Tensor) -> tuple[Tensor, ...]:
        """The affine map's parameters; means, raw log-scales and logits, (K, ...) each."""
        k = self.num_components
        # Made contiguous, as sums over components are then several times as fast.
        return parameters.contiguous().split([AFFINE.num_parameters, k, k, k])


def mixture_logit(
    x: Tensor, mean: Tensor, log_scale: Tensor, log_weight: Tensor
) -> tuple[Tensor, Tensor]:
    """``logit(F(x))`` of a mixture of logistics, and the log of its derivative.

    Computed from log F and log (1 - F), so that saturated values keep their precision.

    Args:
        x: of any shape.
        mean, log_scale, log_weight: of the components, (K, ...), the rest broadcasting to x;
            weights sum to 1.

    Returns:
        Two tensors of x's shape.
    """
    t = (x - mean) * (-log_scale).exp()
    # logsigmoid(-t) is logsigmoid(t) - t, but its gradient is exact where t is very negative.
    below = log_weight + F.logsigmoid(t)
    log_above = F.logsigmoid(-t)
    log_cdf = below.logsumexp(0)
    log_survival = (log_weight + log_above).logsumexp(0)
    log_pdf = (below + log_above - log_scale).logsumexp(0)
    return log_cdf - log_survival, log_pdf - log_cdf - log_survival


@torch.no_grad()
def invert_mixture_logit(
    y: Tensor, mean: Tensor, log_scale: Tensor, log_weight: Tensor, max_iterations: int = 100
) -> Tensor:
    """x with ``mixture_logit(x)[0] == y``, to the precision of y's type.

    A single component has the inverse ``mean + scale y``, and where all components' CDFs lie
    above (below) a value so does their mixture: the least and the greatest of these inverses
    bracket the solution, and their weighted mean is a start. A Newton step that leaves the
    bracket, or that is not half as long as the step before, is replaced by bisection, which
    bounds the number of iterations. A value that is met up to rounding stays: what would follow
    is noise, and bisection would undo it.
    """
    candidates = mean + log_scale.exp() * y
    low, high = candidates.amin(0), candidates.amax(0)
    x = (log_weight.exp() * candidates).sum(0).clamp(low, high)
    change = high - low
    tolerance = 4 * torch.finfo(y.dtype).eps
    for _ in range(max_iterations):
        value, log_derivative = mixture_logit(x, mean, log_scale, log_weight)
        error = y - value
        met = error.abs() <= tolerance * (1 + y.abs())
        low, high = torch.where(error > 0, x, low), torch.where(error > 0, high, x)
        step = error * (-log_derivative).exp()
        new = x + step
        newton = (new >= low) & (new <= high) & (step.abs() <= change / 2)
        new = torch.where(newton, new, (low + high) / 2)
        change = torch.where(met, 0, (new - x).abs())
        x = torch.where(met, x, new)
        if (change <= tolerance * (1 + x.abs())).all():
            break
    return x
