"""Small flows of every attention, coupling and way of keeping memory, and their gradients."""

from __future__ import annotations

from functools import partial

import torch
from exactness import make_context, randomise
from torch import Tensor

from attnflow import Context, Glow
from attnflow.flows.memory import MEMORY
from attnflow.nets import ConvNet, GatedResNet
from attnflow.transforms import (
    AdditiveCoupling,
    AffineCoupling,
    AttentionCoupling,
    AttentionSequence,
    IMap,
    ITrans,
    MixLogCDFCoupling,
)
from attnflow.transforms.priors import MultiScaleAutoregressivePrior

SHAPE = (1, 8, 8)
PRIOR = partial(MultiScaleAutoregressivePrior, hidden_channels=4)
NET = partial(GatedResNet, hidden_channels=8, num_blocks=1, dropout=0.3)
ITRANS = partial(ITrans, patch_size=1, position_embedding="both")
ATTENTIONS = {
    "none": None,
    "imap": partial(IMap, kernel_size=3, global_context=True),
    "dense": partial(ITRANS, num_heads=2),
    "causal": partial(ITRANS, variant="causal"),
    "linear": partial(ITRANS, variant="linear", position_embedding="absolute", rank=4),
    "reading": partial(
        AttentionSequence,
        attentions={
            "mixing": partial(ITRANS, mask="coarse"),
            "reading": partial(AttentionCoupling, mask="coarse"),
        },
    ),
}
COUPLINGS = {
    "affine": partial(AffineCoupling, net=NET),
    "additive": partial(AdditiveCoupling, net=partial(ConvNet, hidden_channels=8, dropout=0.3)),
    "mixlogcdf": partial(MixLogCDFCoupling, net=NET, num_components=3),
}


def same_flows(dtype: torch.dtype, **arguments) -> dict[str, Glow]:
    """One flow for each way of keeping memory, of the same weights, in training mode."""
    arguments = {"levels": 2, "steps": 2, "coupling": COUPLINGS["affine"]} | arguments
    flows = {memory: Glow(SHAPE, memory=memory, **arguments) for memory in MEMORY}
    randomise(flows["none"], 0.1)
    for flow in flows.values():
        flow.load_state_dict(flows["none"].state_dict(), strict=True)
        flow.to(dtype).train()
    return flows


def condition(dtype: torch.dtype) -> list[Tensor]:
    """A vector and a map of each of two levels."""
    levels = [make_context(3, 2, (1, side, side), batch=3) for side in (4, 2)]
    tensors = [levels[0].vector, levels[0].maps[0], levels[1].maps[0]]
    return [tensor.to(dtype).requires_grad_() for tensor in tensors]


def gradients(flow: Glow, x: Tensor, conditions: list[Tensor] | None = None) -> dict[str, Tensor]:
    """The loss, and its gradients by everything that has one."""
    torch.manual_seed(7)  # of dropout
    x = x.clone().requires_grad_()
    context = None if conditions is None else Context(conditions[0], tuple(conditions[1:]))
    loss = -flow.log_prob(x, context).mean()
    named = {"x": x} | dict(flow.named_parameters())
    named |= {f"condition {i}": tensor for i, tensor in enumerate(conditions or [])}
    drawn = [torch.rand(1)]
    grads = torch.autograd.grad(loss, named.values(), allow_unused=True)
    drawn.append(torch.rand(1))
    return {"loss": loss.detach(), "drawn afterwards": torch.cat(drawn)} | {
        name: torch.zeros(()) if grad is None else grad
        for name, grad in zip(named, grads, strict=True)
    }


def assert_close(ours: dict[str, Tensor], reference: dict[str, Tensor], tolerance: float) -> None:
    """Each gradient, by :func:`largest_error`."""
    error, name = largest_error(ours, reference)
    assert error <= tolerance, (name, error)


def largest_error(ours: dict[str, Tensor], reference: dict[str, Tensor]) -> tuple[float, str]:
    """Relative to the norm of each gradient (and a little of the largest, for those near zero)."""
    largest = max(float(grad.norm()) for grad in reference.values())
    errors = {}
    for name, expected in reference.items():
        error = (ours[name] - expected).norm() / (expected.norm() + 1e-3 * largest)
        errors[name] = float(error.nan_to_num(torch.inf))
    name = max(errors, key=errors.__getitem__)
    return errors[name], name
