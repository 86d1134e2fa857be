"""Invertible 1x1 convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnflow.context import Context, required
from attnflow.errors import AttnFlowError, check_choice
from attnflow.nets.layers import zero_linear
from attnflow.transforms.base import Transform, full_precision, log_det_dtype
from attnflow.transforms.pointwise import pointwise

__all__ = ["InvertibleConv1x1"]


def random_rotation(num_channels: int) -> Tensor:
    """An orthogonal matrix (C, C), float64."""
    return torch.linalg.qr(torch.randn(num_channels, num_channels).double())[0]


def random_permutation(num_channels: int) -> Tensor:
    """A permutation matrix (C, C), float64."""
    return torch.eye(num_channels, dtype=torch.float64)[torch.randperm(num_channels)]


STARTS = {"rotation": random_rotation, "permutation": random_permutation}


def check_loaded(module: InvertibleConv1x1, keys: object = None) -> None:
    """Raise :class:`AttnFlowError` where a loaded P is no permutation, or a sign is not 1 or -1."""
    found, channels = module.permutation, len(module.sign)
    if sorted(found.tolist()) != list(range(channels)):
        raise AttnFlowError(
            f"permutation: expected each of 0 to {channels - 1} once, got {found.tolist()!s:.60}."
        )
    if not (module.sign.abs() == 1).all():
        raise AttnFlowError(f"sign: expected 1 or -1, got {module.sign.tolist()!s:.60}.")


class InvertibleConv1x1(Transform):
    """``z = W x`` at every position, with ``W = P L (U + diag(sign * exp(log_s)))``.

    Kingma & Dhariwal, Glow (2018), section 3.2, equation 10: P is a fixed permutation, L
    unit lower triangular and U strictly upper triangular, so that
    ``log_det = H W sum(log_s)`` and the inverse takes two triangular solves. With a condition,
    L, U and log_s of a sample also depend (linearly, from zero) on its context, as in
    Full-Glow.

    W starts as Glow's random rotation, or as a random permutation of the channels. The values
    of a dequantized image fill boxes along the pixels' axes. A coupling that bends each value
    (:class:`MixLogCDFCoupling`) can flatten such a box, but not one that has been rotated; so
    with these a permutation is the better start (on the digits by 0.12 bits/dim).

    Args:
        num_channels: C of the images.
        start: ``rotation`` or ``permutation``.
        context_channels: width of the condition; 0 for none.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(
        self, num_channels: int, start: str = "rotation", context_channels: int = 0
    ) -> None:
        super().__init__()
        check_choice("start", start, STARTS)
        permutation, lower, upper = torch.linalg.lu(STARTS[start](num_channels))
        diagonal = upper.diagonal()
        self.register_buffer("permutation", permutation.argmax(1))
        self.register_buffer("sign", diagonal.sign().float())
        self.register_load_state_dict_post_hook(check_loaded)
        self.log_s = nn.Parameter(diagonal.abs().log().float())
        # One square matrix holds both: L below its diagonal and U above it.
        self.triangles = nn.Parameter((lower.tril(-1) + upper.triu(1)).float())
        self.conditioner: nn.Linear | None = None
        if context_channels:
            self.conditioner = zero_linear(context_channels, num_channels**2)

    def forward(
        self, x: Tensor, context: Context | None = None, norm: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map x to z, as every transform does.

        Args:
            x: (B, C, H, W).
            context: the condition, or None.
            norm: shift and log_scale, (1 or B, C), of a normalisation ``(x + shift)
                exp(log_scale)`` that comes first and is done in the same product.
        """
        with full_precision(x):
            lower, upper, log_s = self._factors(context)
            weight = torch.baddbmm(upper, lower, upper)  # (I + lower) upper
            weight = weight.index_select(1, self.permutation)
            bias = None
            if norm is not None:
                shift, log_scale = norm
                weight = weight * log_scale.exp().unsqueeze(1)
                bias = (weight * shift.unsqueeze(1)).sum(2, keepdim=True)
                log_s = log_s + log_scale
            z = pointwise(x.to(weight.dtype), weight, bias)
        positions = x.shape[2] * x.shape[3]
        log_det = positions * log_s.sum(1, dtype=log_det_dtype(x))
        return z, log_det.expand(len(x))

    def inverse(
        self, z: Tensor, context: Context | None = None, norm: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Map z to x, as every transform does; ``norm`` is that of :meth:`forward`."""
        with full_precision(z):
            lower, upper, _ = self._factors(context)
            identity = torch.eye(z.shape[1], dtype=lower.dtype, device=z.device)
            transposed = identity[:, self.permutation].expand_as(lower)
            half = torch.linalg.solve_triangular(lower, transposed, upper=False, unitriangular=True)
            weight = torch.linalg.solve_triangular(upper, half, upper=True)
            bias = None
            if norm is not None:
                shift, log_scale = norm
                weight = weight * (-log_scale).exp().unsqueeze(2)
                bias = -shift.unsqueeze(2)
            return pointwise(z.to(weight.dtype), weight, bias)

    def _factors(self, context: Context | None) -> tuple[Tensor, Tensor, Tensor]:
        """L - I and U + diag, of shape (1 or B, C, C), and log_s, (1 or B, C)."""
        triangles, log_s = self.triangles[None], self.log_s[None]
        if self.conditioner is not None:
            moved = self.conditioner(required(context).as_vector()).to(triangles.dtype)
            moved = moved.unflatten(1, triangles.shape[1:]).tanh()
            triangles, log_s = triangles + moved, log_s + moved.diagonal(dim1=1, dim2=2)
        upper = triangles.triu(1) + torch.diag_embed(self.sign * log_s.exp())
        return triangles.tril(-1), upper, log_s

    def extra_repr(self) -> str:
        return f"{len(self.sign)}"
