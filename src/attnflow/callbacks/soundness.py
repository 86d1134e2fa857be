"""Tests of the flow itself: that it inverts, and that samples stay in the range of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from attnflow.data.samples import Samples
from attnflow.errors import check_least
from attnflow.metrics.images import batches, fetch
from attnflow.metrics.soundness import out_of_range, round_trip_errors
from attnflow.training.declared import datamodule_of, flow_module
from attnflow.utils.distributed import all_reduce_max, all_reduce_sum, rank
from attnflow.utils.noise import NO_EPOCH

__all__ = ["Soundness"]


class Soundness(Callback):
    """Tests the flow itself, at the end of every test.

    Logs ``test/round_trip_max`` and ``test/round_trip_mean``, the error of decoding the latents
    of real test images, in units of the pixel range; and ``test/out_of_range``, the share of
    the values of samples that lie outside it, freed of noise where the model adds some. Every rank
    takes its share of the images.

    Args:
        num_images: of the test images, and of samples; all test images where they are fewer.
        batch_size: images at once.
        seed: of the samples.
    """

    def __init__(self, num_images: int = 64, batch_size: int = 64, seed: int = 0) -> None:
        for name, value in (("num_images", num_images), ("batch_size", batch_size)):
            check_least(name, value, 1)
        self.num_images, self.batch_size, self.seed = num_images, batch_size, seed

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        dataset = datamodule_of(trainer).dataset("test")
        mine = range(rank(), min(self.num_images, len(dataset)), trainer.world_size)
        for name, value in self.measure(pl_module, dataset, mine).items():
            # All ranks hold the same value; saying sync_dist keeps Lightning from warning.
            pl_module.log(f"test/{name}", value, batch_size=1, sync_dist=True)

    # Taking noise away needs gradients, which the tensors of an evaluation do not have.
    @torch.inference_mode(False)
    @torch.no_grad()
    def measure(
        self, pl_module: LightningModule, dataset: Samples, mine: Sequence[int]
    ) -> dict[str, Tensor]:
        """Compute the figures over all ranks; this rank takes the images ``mine``."""
        module = flow_module(pl_module)
        model, device = module.model, module.device
        sums = torch.zeros(3, device=device)  # of errors, of values outside, of values
        worst = torch.zeros((), device=device)
        for numbers in batches(mine, self.batch_size):
            batch = fetch(dataset, numbers, device)
            errors = round_trip_errors(model, batch, module.noise(batch, NO_EPOCH))
            generator = torch.Generator(device).manual_seed(self.seed)
            context = model.context(batch)
            samples = model.flow.sample(len(numbers), context, generator=generator, numbers=numbers)
            samples = model.dequantizer.clean(
                samples, partial(model.flow.log_prob, context=context)
            )
            worst = torch.maximum(worst, errors.max())
            counts = out_of_range(samples), torch.tensor(errors.numel(), device=device)
            sums += torch.stack([errors.sum(), *counts])
        errors, outside, values = all_reduce_sum(sums)
        return {
            "round_trip_max": all_reduce_max(worst),
            "round_trip_mean": errors / values,
            "out_of_range": outside / values,
        }
