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
from attnflow.transforms.maps.mixture import invert_mixture_logit
from attnflow.transforms.maps.mixture_function import mixture_cdf, pieces

__all__ = ["MixtureCDFMap"]

AFFINE = AffineMap()  # what follows the mixture


@dataclass(frozen=True)
class MixtureCDFMap(ElementwiseMap):
    """``z = logit(sum_k pi_k sigmoid((x - mu_k) / s_k)) exp(a) + b``.

    Ho et al., Flow++ (2019), section 3.2: the CDF of a mixture of K logistics bends each value,
    then an affine map follows. The inverse has no closed form; it is found to the precision of
    the type by a bracketed Newton iteration over all values at once
    (:func:`~attnflow.transforms.maps.mixture.invert_mixture_logit`). Parameters: (b, raw a, means,
    raw log-scales, logits).

    Args:
        num_components: K, 1 or more.
        largest_log_scale: of a component, S tanh(raw / S) as of the affine map: what has few grey
            levels, or repeats exactly, needs components of exp(-5) and narrower.
    """

    num_components: int = 8
    largest_log_scale: float = 3.0

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
            return mixture_cdf(x, parameters, self.largest_log_scale, AFFINE.largest_log_scale)

    def inverse(self, z: Tensor, parameters: Tensor) -> Tensor:
        with full_precision(z):
            affine, mixture = self._split(parameters)
            return invert_mixture_logit(AFFINE.inverse(z, affine), *mixture)

    def towards_inverse(self, z: Tensor, parameters: Tensor, start: Tensor) -> Tensor:
        """One Newton step, or a bisection, of ``start`` inside the solution's bracket."""
        with full_precision(z):
            affine, mixture = self._split(parameters)
            y = AFFINE.inverse(z, affine)
            return invert_mixture_logit(y, *mixture, start, max_iterations=1)

    def at_bound(self, parameters: Tensor) -> Tensor:
        """Where the affine map's scale has reached its bound, or that of any component."""
        _, _, _, raw, _ = pieces(parameters)
        components = near_bound(raw, self.largest_log_scale).any(0)
        return AFFINE.at_bound(parameters[: AFFINE.num_parameters]) | components

    def beyond(self, conditional: Tensor, unconditional: Tensor, weight: Tensor | float) -> Tensor:
        """The parameters of guidance: the affine map's, and the mixture's as they are."""
        k = AFFINE.num_parameters
        affine = AFFINE.beyond(conditional[:k], unconditional[:k], weight)
        return torch.cat([affine, linear(conditional[k:], unconditional[k:], weight)])

    def _split(self, parameters: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """The affine map's parameters; means, log-scales and log-weights, (K, ...) each."""
        # Made contiguous, as sums over components are then several times as fast.
        parameters = parameters.contiguous()
        _, _, mean, raw, logits = pieces(parameters)
        log_scale = bounded(raw, self.largest_log_scale)
        return parameters[: AFFINE.num_parameters], (mean, log_scale, F.log_softmax(logits, 0))
