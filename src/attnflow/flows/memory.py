"""Ways to run transforms in training, which differ in what they keep for the gradients.

The activations of a flow's coupling nets, not its parameters, fill the memory of a device, and
they grow with the number of steps. They need not be kept: they can be computed again from each
step's input (gradient checkpointing), and even the inputs can, as every transform has an inverse
(Gomez et al., The Reversible Residual Network, 2017). The result is the same in every case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint, get_device_states, set_device_states

from attnflow.context import Context
from attnflow.transforms.base import Composition, Transform, zero_log_det

__all__ = ["MEMORY", "Run", "pieces"]

# (transforms in forward order, x, context) -> (z, log_det)
Run = Callable[[Sequence[Transform], Tensor, Context | None], tuple[Tensor, Tensor]]


def ordinary(
    transforms: Sequence[Transform], x: Tensor, context: Context | None = None
) -> tuple[Tensor, Tensor]:
    """Keep all activations: fastest, and memory grows with every layer."""
    total = zero_log_det(x)
    for transform in transforms:
        x, log_det = transform(x, context)
        total = total + log_det
    return x, total


def checkpointed(
    transforms: Sequence[Transform], x: Tensor, context: Context | None = None
) -> tuple[Tensor, Tensor]:
    """Keep the input of each transform; compute its activations again in backward."""
    total = zero_log_det(x)
    for transform in transforms:
        x, log_det = checkpoint(transform, x, context, use_reentrant=False)
        total = total + log_det
    return x, total


def reversible(
    transforms: Sequence[Transform], x: Tensor, context: Context | None = None
) -> tuple[Tensor, Tensor]:
    """Keep only the last output: memory does not grow with the number of transforms.

    Backward goes from the output to the input: the inverse of each transform gives its input
    again, and its forward the activations that its own gradients need. Dropout and the like draw
    the same numbers each time. Gradients differ from the ordinary ones by the rounding of the
    inverses alone; they cannot be differentiated again.
    """
    if not torch.is_grad_enabled():
        return ordinary(transforms, x, context)
    vector, maps = (None, ()) if context is None else (context.vector, context.maps)
    # Parameters are arguments too, so that their gradients arrive where DDP waits for them.
    return _Reversible.apply(transforms, x, vector, len(maps), *maps, *trained(*transforms))


MEMORY: dict[str, Run] = {
    "none": ordinary,
    "checkpoint": checkpointed,
    "reversible": reversible,
}


def pieces(transforms: Composition, memory: str) -> list[Transform]:
    """Return the parts run one by one: single transforms if reversible, else whole steps."""
    return list(innermost(transforms)) if memory == "reversible" else transforms.parts()


class _Reversible(torch.autograd.Function):
    """The function behind :func:`reversible`."""

    @staticmethod
    def forward(
        ctx: Any,
        transforms: Sequence[Transform],
        x: Tensor,
        vector: Tensor | None,
        num_maps: int,
        *maps_and_parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        maps = maps_and_parameters[:num_maps]
        context = as_context(vector, maps)
        ctx.transforms, ctx.autocast = transforms, autocast_of(x)
        ctx.draws = []
        total = zero_log_det(x)
        with ctx.autocast():
            for transform in transforms:
                before = Draws(x)
                x, log_det = transform(x, context)
                # Most transforms draw nothing, and a state takes 5 KB.
                ctx.draws.append(None if Draws(x) == before else before)
                total = total + log_det
        ctx.save_for_backward(x, vector, *maps)
        return x, total

    @staticmethod
    @once_differentiable  # whose type takes the context by position alone
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        grad_z, grad_log_det = grad_outputs
        z, vector, *maps = ctx.saved_tensors
        vector = None if vector is None else leaf(vector)
        maps = tuple(leaf(features) for features in maps)
        context = as_context(vector, maps)
        conditions = [c for c in (vector, *maps) if c is not None and c.requires_grad]
        parameters = trained(*ctx.transforms)
        total: dict[Tensor, Tensor | None] = dict.fromkeys([*conditions, *parameters])
        steps = list(zip(ctx.transforms, ctx.draws, strict=True))
        for transform, draws in reversed(steps):
            again = draws.again if draws else nullcontext
            with torch.no_grad(), ctx.autocast(), again():
                z = transform.inverse(z, context)
            x = z.detach().requires_grad_()
            with torch.enable_grad(), ctx.autocast(), again():
                outputs = transform(x, context)
            inputs = [x, *conditions, *trained(transform)]
            of_x, *grads = gradients(outputs, inputs, (grad_z, grad_log_det))
            grad_z = cast(Tensor, of_x)
            for tensor, grad in zip(inputs[1:], grads, strict=True):
                if grad is not None:
                    before = total[tensor]
                    total[tensor] = grad if before is None else before + grad
        of_conditions = [None if c is None else total.get(c) for c in (vector, *maps)]
        of_parameters = [total[p] for p in parameters]
        return None, grad_z, of_conditions[0], None, *of_conditions[1:], *of_parameters


class Draws:
    """The state of the random generators before a transform, to draw the same numbers again.

    Args:
        x: a tensor on the device whose generator counts, beside the CPU's.
    """

    def __init__(self, x: Tensor) -> None:
        self.cpu = torch.get_rng_state()
        self.devices, self.states = get_device_states(x)
        self.device_type = x.device.type if self.devices else None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Draws):
            return NotImplemented
        pairs = zip((self.cpu, *self.states), (other.cpu, *other.states), strict=True)
        return all(torch.equal(mine, theirs) for mine, theirs in pairs)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Draw from this state; the generators afterwards return to theirs."""
        with torch.random.fork_rng(self.devices, device_type=self.device_type):
            torch.set_rng_state(self.cpu)
            set_device_states(self.devices, self.states, device_type=self.device_type)
            yield


def innermost(transforms: Composition) -> Iterator[Transform]:
    """The transforms of a composition and of the compositions in it, in forward order."""
    for transform in transforms.parts():
        if isinstance(transform, Composition):
            yield from innermost(transform)
        else:
            yield transform


def trained(*modules: nn.Module) -> list[Tensor]:
    """The parameters that get gradients, each once."""
    return [p for p in nn.ModuleList(modules).parameters() if p.requires_grad]


def as_context(vector: Tensor | None, maps: tuple[Tensor, ...]) -> Context | None:
    """Make a context of these tensors; None where there are none."""
    return Context(vector, maps) if vector is not None or maps else None


def leaf(tensor: Tensor) -> Tensor:
    """Return ``tensor`` as a leaf of a new graph."""
    return tensor.detach().requires_grad_(tensor.requires_grad)


def autocast_of(x: Tensor) -> Callable[[], AbstractContextManager]:
    """Return a factory of autocast contexts like the current one.

    They cache no weights: a copy that was cached without a graph would cut the weight off.
    """
    kind = x.device.type
    if not torch.amp.is_autocast_available(kind):  # the meta device
        return nullcontext
    return partial(
        torch.autocast,
        kind,
        dtype=torch.get_autocast_dtype(kind),
        enabled=torch.is_autocast_enabled(kind),
        cache_enabled=False,
    )


def gradients(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], grad_outputs: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """The gradients of ``inputs``; None where an input is not read."""
    # A log_det of zeros has no graph.
    pairs = [(o, g) for o, g in zip(outputs, grad_outputs, strict=True) if o.requires_grad]
    roots, grads = zip(*pairs, strict=True)
    return torch.autograd.grad(roots, inputs, grads, allow_unused=True)
