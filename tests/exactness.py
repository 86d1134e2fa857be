"""Proof against autograd that a transform's log_det and inverse are exact."""

from __future__ import annotations

import torch
from torch import Tensor

from attnflow.context import Context
from attnflow.transforms import Transform


def randomise(module: torch.nn.Module, scale: float = 0.5) -> None:
    """Move every parameter away from its (near-identity) start."""
    with torch.no_grad():
        for parameter in module.parameters():
            # By shape: the order of memory is not what a test is about.
            parameter.add_(scale * torch.randn(parameter.shape, dtype=parameter.dtype))


def make_context(vector: int, maps: int, shape: tuple[int, ...], batch: int = 2) -> Context | None:
    """A random float64 context of the given widths for images (C, H, W); None for 0 and 0."""
    if not vector and not maps:
        return None
    features = (torch.randn(batch, maps, *shape[1:]).double(),) if maps else ()
    return Context(torch.randn(batch, vector).double() if vector else None, features)


def jacobian_log_det(transform: Transform, x: Tensor, context: Context | None) -> Tensor:
    """log|det| of the full Jacobian of every sample, by autograd: (B,)."""
    log_dets = []
    for b in range(len(x)):
        row = context and context.index(slice(b, b + 1))

        def flat(v: Tensor, shape: torch.Size = x[:1].shape, row: Context | None = row) -> Tensor:
            return transform(v.view(shape), row)[0].flatten()

        matrix = torch.autograd.functional.jacobian(flat, x[b : b + 1].flatten())
        log_dets.append(torch.linalg.slogdet(matrix).logabsdet)
    return torch.stack(log_dets)


def assert_exact(transform: Transform, x: Tensor, context: Context | None = None) -> None:
    """log_det to 1e-8 relative, and round trips both ways to 1e-10, in float64."""
    transform, x = transform.double().eval(), x.double()
    z, log_det = transform(x, context)
    assert log_det.shape == (len(x),)
    expected = jacobian_log_det(transform, x, context)
    torch.testing.assert_close(log_det, expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(transform.inverse(z, context), x, rtol=1e-10, atol=1e-10)
    y = torch.randn_like(z)
    back = transform(transform.inverse(y, context), context)[0]
    torch.testing.assert_close(back, y, rtol=1e-10, atol=1e-10)


def assert_runs_on_meta(
    transform: Transform, x: Tensor, context: Context | None = None, inverts: bool = True
) -> None:
    """Forward, backward and the inverse give tensors of the right shapes, without values."""
    x.requires_grad_()
    z, log_det = transform(x, context)
    assert (z.shape, log_det.shape) == (x.shape, (len(x),))
    (z.sum() + log_det.sum()).backward()
    for tensor in (z, log_det, x.grad, *(p.grad for p in transform.parameters())):
        assert tensor is not None
        assert tensor.is_meta
    if inverts:
        assert transform.inverse(z, context).is_meta
