"""A recipe's model and its training step, and the step that its nets take alone."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from loop import Data, Recipe
from recipes import make_ours, our_bits
from stepper import RecipeOfImages, images_of
from torch import Tensor, nn

from attnflow.models.image_model import ImageModel
from attnflow.spec import DataSpec
from attnflow.transforms import Autoregressive
from attnflow.transforms.coupling import Coupling

__all__ = ["IMAGES", "Workload", "stepping"]

IMAGES = 64  # that log_prob and sampling are timed on


class Workload:
    """A recipe's model and its training step.

    Args:
        recipe: of :data:`~stepper.RECIPES`.
        device: that it is on.
    """

    def __init__(self, recipe: RecipeOfImages, device: torch.device) -> None:
        torch.manual_seed(0)
        images = images_of(recipe)
        spec = DataSpec(image_shape=recipe.shape, num_bins=recipe.num_bins)
        options = [f"experiment={recipe.experiment}", f"attention={recipe.attention}"]
        model, self.recipe = make_ours(options, Data(images, images, images, spec))
        self.model: ImageModel = model.to(device)
        self.images = images.to(device)
        self.rows = torch.arange(self.recipe.batch_size, device=device)

    def bits(self) -> Tensor:
        """Bits/dim of the batch."""
        return our_bits(self.model, self.images[self.rows], self.rows, 1)

    def step(self, precision: torch.dtype | None = None) -> Callable[[], None]:
        """What takes a training step, with nets in another precision where one is given."""
        take = stepping(self.model, self.recipe)
        device = self.images.device.type

        def step() -> None:
            with torch.autocast(device, precision, enabled=precision is not None):
                loss = self.bits().mean()
            take(loss.backward)

        return step

    def nets_step(self) -> Callable[[], None]:
        """The same of the nets alone, on what they read in the flow."""
        owners = [m for m in self.model.modules() if isinstance(m, Coupling | Autoregressive)]
        inputs = [inputs_of(owner.net, self.bits) for owner in owners]
        nets = copy.deepcopy(nn.ModuleList(owner.net for owner in owners))
        gradients = [torch.randn_like(net(x)) for net, x in zip(nets, inputs, strict=True)]
        take = stepping(nets, self.recipe)

        def step() -> None:
            for x in inputs:
                x.grad = None
            outputs = [net(x) for net, x in zip(nets, inputs, strict=True)]
            take(lambda: torch.autograd.backward(outputs, gradients))

        return step

    @torch.no_grad()
    def log_prob(self) -> Tensor:
        rows = torch.arange(IMAGES, device=self.images.device)
        return our_bits(self.model.eval(), self.images[rows], rows, -1)

    @torch.no_grad()
    def sample(self) -> Tensor:
        return self.model.eval().sample(IMAGES)


def stepping(model: nn.Module, recipe: Recipe) -> Callable[[Callable[[], None]], None]:
    """What makes gradients by a call, clips them and lets the optimizer take its step."""
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        parameters, recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )

    def take(backward: Callable[[], None]) -> None:
        model.train()
        optimizer.zero_grad()
        backward()
        torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
        optimizer.step()

    return take


def inputs_of(net: nn.Module, run: Callable[[], object]) -> Tensor:
    """What a net is called with first in a run, as a leaf of its own."""
    seen: list[Tensor] = []
    hook = net.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach()))
    run()
    hook.remove()
    return seen[0].clone().requires_grad_()
