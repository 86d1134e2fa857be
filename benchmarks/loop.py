"""One training loop for all density models: a budget of CPU seconds, and early stopping."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from attnflow.callbacks.averaging import exponential_average
from attnflow.data.augmentation import Augmented
from attnflow.spec import DataSpec
from attnflow.utils.noise import sample_keys, uniform_noise

__all__ = ["BitsPerDim", "Data", "Outcome", "Recipe", "train_for"]

# bits(model, rows of images, indices, epoch) -> bits/dim of every image
BitsPerDim = Callable[[nn.Module, Tensor, Tensor, int], Tensor]


@dataclass(frozen=True)
class Data:
    """Integer images (N, C, H, W) of three splits, with their specification.

    ``augmented`` are the training images as training sees them, if they are changed for it;
    ``entropy`` is theirs in bits/dim, where it is known.
    """

    train: Tensor
    val: Tensor
    test: Tensor
    spec: DataSpec
    augmented: Augmented | None = None
    entropy: float | None = None

    def batch(self, rows: Tensor, epoch: int) -> Tensor:
        """These training images, as this epoch sees them."""
        if self.augmented is None:
            return self.train[rows]
        numbers = epoch * len(self.train) + rows
        return self.augmented.__getitems__(numbers.tolist())["image"]


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; the same for every model but for what is tuned to each.

    The rate warms up over ``warmup_steps`` and decays as a cosine over the budget.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    batch_size: int = 64
    ema_decay: float = 0.99
    warmup_steps: int = 50
    clip: float = 1.0


@dataclass
class Outcome:
    """Figures of one training; curve holds (CPU seconds, val bits/dim)."""

    test_bpd: float
    val_bpd: float
    steps: int
    images_per_second: float
    params: int
    curve: list[tuple[float, float]] = field(default_factory=list)


def train_for(
    budget: float,
    model: nn.Module,
    bits: BitsPerDim,
    data: Data,
    recipe: Recipe,
    seed: int,
    max_steps: int | None = None,
    validations: int = 30,
) -> Outcome:
    """Train for ``budget`` seconds of the processor (or ``max_steps``); test the best weights.

    They are this process's own, whatever else the machine does. Reading batches and validation
    stay outside the budget, so that no model pays for being looked at.
    """
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        recipe.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    average = AveragedModel(model, multi_avg_fn=exponential_average(recipe.ema_decay))
    best, best_state, curve = math.inf, None, []
    spent, step, epoch, next_look = 0.0, 0, 0, 1 / validations
    fraction = 0.0
    while fraction < 1:
        order = torch.randperm(len(data.train))
        epoch += 1
        for rows in order.split(recipe.batch_size):
            if len(rows) < recipe.batch_size:
                continue
            images = data.batch(rows, epoch)
            started = time.process_time()
            progress = max(fraction, 0.0)
            rate = recipe.learning_rate * min(1, (step + 1) / recipe.warmup_steps)
            for group in optimizer.param_groups:
                group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * progress))
            loss = bits(model, images, rows, epoch).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
            average.update_parameters(model)
            step += 1
            spent += time.process_time() - started
            fraction = step / max_steps if max_steps else spent / budget
            if fraction >= next_look or fraction >= 1:
                next_look = fraction + 1 / validations
                value = evaluate(average.module, bits, data.val)
                curve.append((spent, value))
                if value < best:
                    best, best_state = value, copy.deepcopy(average.module.state_dict())
            if fraction >= 1:
                break
    average.module.load_state_dict(best_state)
    model.load_state_dict(best_state)
    return Outcome(
        test_bpd=evaluate(average.module, bits, data.test),
        val_bpd=best,
        steps=step,
        images_per_second=step * recipe.batch_size / spent,
        params=sum(p.numel() for p in model.parameters() if p.requires_grad),
        curve=curve,
    )


@torch.no_grad()
def evaluate(model: nn.Module, bits: BitsPerDim, images: Tensor) -> float:
    """Mean bits/dim with one fixed noise sample an image."""
    model.eval()
    values = [bits(model, images[rows], rows, -1) for rows in torch.arange(len(images)).split(256)]
    model.train()
    return float(torch.cat(values).mean())


def dequantized(images: Tensor, rows: Tensor, epoch: int, num_bins: int, seed: int = 0) -> Tensor:
    """Images in [0, 1) with the noise that training with attnflow itself would use."""
    noise = uniform_noise(sample_keys(seed, epoch, rows), tuple(images.shape[1:]))
    return (images.float() + noise) / num_bins
