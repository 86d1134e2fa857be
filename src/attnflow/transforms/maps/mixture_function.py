"""The mixture-CDF map as one function of autograd, whose gradients are written out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attnflow.transforms.maps.base import bounded
from attnflow.transforms.maps.mixture import Mixture

__all__ = ["mixture_cdf", "pieces"]


def mixture_cdf(
    x: Tensor, parameters: Tensor, largest_log_scale: float, largest_affine: float
) -> tuple[Tensor, Tensor]:
    """z and log(dz/dx) of :class:`~attnflow.transforms.maps.MixtureCDFMap`.

    Gradients are written out, which is quicker than autograd's; they have none of their own.

    Args:
        x: of any shape.
        parameters: as :func:`pieces` takes them, the rest broadcasting to x.
        largest_log_scale: bound of the components' log-scales.
        largest_affine: bound of the log-scale that follows.

    Returns:
        Two tensors of x's shape.
    """
    parameters = parameters.expand(-1, *x.shape)
    return MixtureCDF.apply(x, parameters, largest_log_scale, largest_affine)


def pieces(parameters: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The shift b and raw a, (...), and means, raw log-scales and logits, (K, ...), of (k, ...)."""
    components = len(parameters) // 3
    mean, raw, logits = parameters[2:].split(components)
    return parameters[0], parameters[1], mean, raw, logits


class MixtureCDF(torch.autograd.Function):
    """:func:`mixture_cdf`, with its gradients."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, parameters: Tensor, largest_log_scale: float, largest_affine: float
    ) -> tuple[Tensor, Tensor]:
        # Made contiguous, as sums over components are then several times as fast.
        shift, raw_affine, mean, raw, logits = pieces(parameters.contiguous())
        log_scale = bounded(raw, largest_log_scale)
        log_weight = logits.log_softmax(0)
        at = Mixture.at(x, mean, log_scale, log_weight)
        affine = bounded(raw_affine, largest_affine)
        scaled = at.logit * affine.exp()
        ctx.bounds = largest_log_scale, largest_affine
        ctx.save_for_backward(
            at.t, at.inverse_scale, at.shares(), log_scale, log_weight, affine, scaled
        )
        return scaled + shift, at.log_slope + affine

    @staticmethod
    @once_differentiable  # whose type takes the context by position alone
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        """The log of a sum changes with a component's log by its share.

        With s = sigmoid(t), d log sigmoid(t) / dt = 1 - s, d log sigmoid(-t) / dt = -s, and the
        log density of a component changes by 1 - 2 s.
        """
        t, inverse_scale, shares, log_scale, log_weight, affine, scaled = ctx.saved_tensors
        largest_log_scale, largest_affine = ctx.bounds
        of_z, of_slope = gradients
        of_logit = of_z * affine.exp()
        # Of log F, log (1 - F) and log F', by component.
        of_logs = torch.stack([of_logit - of_slope, -of_logit - of_slope, of_slope])
        cdf, survival, density = of_logs[:, None] * shares
        of_weight = survival.add_(cdf).add_(density)
        of_t = t.sigmoid().mul_(of_weight + density).neg_().add_(cdf).add_(density)
        of_parameters = t.new_empty(2 + 3 * len(t), *t.shape[1:])
        of_shift, of_affine, of_mean, of_raw, of_logits = pieces(of_parameters)
        of_shift.copy_(of_z)
        torch.mul(scaled, of_z, out=of_affine).add_(of_slope)
        of_affine.mul_(slope_of_bounded(affine, largest_affine))
        torch.mul(of_t, t, out=of_raw).add_(density).neg_()
        of_raw.mul_(slope_of_bounded(log_scale, largest_log_scale))
        of_x = of_t.mul_(inverse_scale)
        torch.neg(of_x, out=of_mean)
        torch.sub(of_weight, log_weight.exp() * of_weight.sum(0), out=of_logits)
        return of_x.sum(0), of_parameters, None, None


def slope_of_bounded(value: Tensor, bound: float) -> Tensor:
    """The derivative of :func:`~attnflow.transforms.maps.base.bounded` where it has a value."""
    return 1 - (value / bound).square()
