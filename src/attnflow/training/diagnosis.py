"""Find the transform in which a computation became non-finite."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnflow.flows.watching import watched
from attnflow.models.image_model import Batch, ImageModel
from attnflow.transforms import Composition, Transform
from attnflow.transforms.step import unfolded

__all__ = ["where_non_finite"]


def where_non_finite(
    model: ImageModel, batch: Batch, noise: Tensor, dropped: Tensor | None = None
) -> str:
    """Run a step once more, eagerly, and say what went non-finite first, forward or backward.

    Returns:
        A clause, such as ``flow.levels.0.transforms.step_1.coupling (AffineCoupling) gave the first
        non-finite log_det``.
    """
    found: list[str] = []

    def record(name: str, module: nn.Module, inputs: tuple, outputs: tuple[Tensor, Tensor]) -> None:
        for what, value in zip(("output", "log_det"), outputs, strict=True):
            if not found and not torch.isfinite(value).all():
                found.append(f"{name} ({type(module).__name__}) gave the first non-finite {what}")

    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with unfolded(model), torch.enable_grad(), watched(model, _is_single, record):
        loss = model(batch, noise, dropped).mean()
        gradients = torch.autograd.grad(loss, tuple(parameters.values()), allow_unused=True)
    # Backward goes from the last parameter to the first, so the last is where it went wrong; and
    # data go through the flow last.
    bad = [name for name, g in zip(parameters, gradients, strict=True) if not _finite(g)]
    for name in sorted(bad, key=lambda name: name.startswith("flow."))[-1:]:
        found.append(f"every transform is finite, but not the gradient of {name}")
    return found[0] if found else "every number was finite when the step was run again"


def _finite(gradient: Tensor | None) -> bool:
    return gradient is None or bool(torch.isfinite(gradient).all())


def _is_single(module: nn.Module) -> bool:
    return isinstance(module, Transform) and not isinstance(module, Composition)
