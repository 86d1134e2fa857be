"""Mixture-of-logistics coupling."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnflow.errors import check_least
from attnflow.nets.convnet import ConvNet
from attnflow.transforms.base import full_precision
from attnflow.transforms.coupling.base import Coupling, NetFactory

__all__ = ["MixLogCDFCoupling", "invert_mixture_logit", "mixture_logit"]

LARGEST_LOG_SCALE = 2.0  # of the affine part
LARGEST_COMPONENT_LOG_SCALE = 3.0
COMPONENT_DIM = 2  # parameters of components are (B, C, K, H, W)


class MixLogCDFCoupling(Coupling):
    """``z_b = logit(sum_k pi_k sigmoid((x_b - mu_k) / s_k)) exp(a) + b``, read from x_a.

    Ho et al., Flow++ (2019), section 3.2: the CDF of a mixture of K logistics bends each value
    as its neighbours suggest, then an affine map follows. The inverse has no closed form; it
    is found to the precision of the type by a bracketed Newton iteration over all values at
    once (:func:`invert_mixture_logit`).

    Args:
        num_channels: C, even.
        num_components: K, 1 or more.
        net: makes the coupling net, as for every :class:`Coupling`.
        context_channels: width of the condition; 0 for none.
    """

    def __init__(
        self,
        num_channels: int,
        num_components: int = 8,
        net: NetFactory = ConvNet,
        context_channels: int = 0,
    ) -> None:
        check_least("MixLogCDFCoupling's num_components", num_components, 1)
        self.parameters_per_value = 2 + 3 * num_components
        super().__init__(num_channels, net, context_channels)
        # Components start apart, or they would all learn the same.
        start = torch.zeros(self.parameters_per_value)
        start[2 : 2 + num_components] = torch.linspace(-2, 2, num_components)
        start[2 + num_components : 2 + 2 * num_components] = -0.5
        self.start = nn.Parameter(start.repeat(num_channels // 2, 1)[..., None, None])
        self.num_components = num_components

    def transform(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            shift, log_scale, mixture = self._split(parameters)
            bent, log_derivative = mixture_logit(x, *mixture)
            return bent * log_scale.exp() + shift, log_derivative + log_scale

    def untransform(self, z: Tensor, parameters: Tensor) -> Tensor:
        with full_precision(z):
            shift, log_scale, mixture = self._split(parameters)
            return invert_mixture_logit((z - shift) * (-log_scale).exp(), *mixture)

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Shift and log-scale (B, C, H, W); means, log-scales, log-weights (B, C, K, H, W)."""
        parameters = parameters.unflatten(1, self.start.shape[:2]) + self.start
        k = self.num_components
        affine, mean, raw, logits = parameters.split([2, k, k, k], COMPONENT_DIM)
        log_scale = _bounded(affine[:, :, 1], LARGEST_LOG_SCALE)
        component_log_scale = _bounded(raw, LARGEST_COMPONENT_LOG_SCALE)
        log_weight = F.log_softmax(logits, COMPONENT_DIM)
        return affine[:, :, 0], log_scale, (mean, component_log_scale, log_weight)

    def extra_repr(self) -> str:
        return f"num_components={self.num_components}"


def mixture_logit(
    x: Tensor, mean: Tensor, log_scale: Tensor, log_weight: Tensor
) -> tuple[Tensor, Tensor]:
    """``logit(F(x))`` of a mixture of logistics, and the log of its derivative.

    Computed from log F and log (1 - F), so that saturated values keep their precision.

    Args:
        x: (B, C, H, W).
        mean, log_scale, log_weight: of the components, (B, C, K, H, W); weights sum to 1.

    Returns:
        Two tensors of x's shape.
    """
    t = (x.unsqueeze(COMPONENT_DIM) - mean) * (-log_scale).exp()
    # logsigmoid(-t) is logsigmoid(t) - t, but its gradient is exact where t is very negative.
    below = log_weight + F.logsigmoid(t)
    log_above = F.logsigmoid(-t)
    log_cdf = below.logsumexp(COMPONENT_DIM)
    log_survival = (log_weight + log_above).logsumexp(COMPONENT_DIM)
    log_pdf = (below + log_above - log_scale).logsumexp(COMPONENT_DIM)
    return log_cdf - log_survival, log_pdf - log_cdf - log_survival


@torch.no_grad()
def invert_mixture_logit(
    y: Tensor, mean: Tensor, log_scale: Tensor, log_weight: Tensor, max_iterations: int = 100
) -> Tensor:
    """x with ``mixture_logit(x)[0] == y``, to the precision of y's type.

    A single component has the inverse ``mean + scale y``, and where all components' CDFs lie
    above (below) a value so does their mixture: the least and the greatest of these inverses
    bracket the solution. A Newton step that leaves the bracket, or that is not half as long as
    the step before, is replaced by bisection, which bounds the number of iterations.
    """
    candidates = mean + log_scale.exp() * y.unsqueeze(COMPONENT_DIM)
    low, high = candidates.amin(COMPONENT_DIM), candidates.amax(COMPONENT_DIM)
    x = (low + high) / 2
    change = high - low
    tolerance = 4 * torch.finfo(y.dtype).eps
    for _ in range(max_iterations):
        value, log_derivative = mixture_logit(x, mean, log_scale, log_weight)
        too_low = value < y
        low, high = torch.where(too_low, x, low), torch.where(too_low, high, x)
        step = (y - value) * (-log_derivative).exp()
        new = x + step
        newton = (new >= low) & (new <= high) & (step.abs() <= change / 2)
        new = torch.where(newton, new, (low + high) / 2)
        change = (new - x).abs()
        x = new
        if (change <= tolerance * (1 + x.abs())).all():
            break
    return x


def _bounded(raw: Tensor, bound: float) -> Tensor:
    return bound * torch.tanh(raw / bound)
