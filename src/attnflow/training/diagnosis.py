"""Where a computation went non-finite."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnflow.image_model import Batch, ImageModel
from attnflow.transforms import Composition, Transform

__all__ = ["first_non_finite"]


@torch.no_grad()
def first_non_finite(model: ImageModel, batch: Batch, noise: Tensor) -> str:
    """Run the model once more and say which transform went non-finite first.

    Returns:
        A clause, such as ``levels.0.transforms.step_1.coupling gave the first non-finite
        log_det``.
    """
    found: list[str] = []
    handles = [
        module.register_forward_hook(_watcher(name, found))
        for name, module in model.flow.named_modules()
        if isinstance(module, Transform) and not isinstance(module, Composition)
    ]
    try:
        model(batch, noise)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else "every transform was finite when the step was run again"


def _watcher(name: str, found: list[str]):
    def watch(module: nn.Module, inputs: tuple, outputs: tuple[Tensor, Tensor]) -> None:
        for what, value in zip(("output", "log_det"), outputs, strict=True):
            if not found and not torch.isfinite(value).all():
                found.append(f"{name} ({type(module).__name__}) gave the first non-finite {what}")

    return watch
