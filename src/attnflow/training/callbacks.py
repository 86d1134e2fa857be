"""Lightning callbacks of our own: pictures, speed and the guard against non-finite losses."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor

from attnflow.errors import AttnFlowError
from attnflow.evaluation.conditions import chosen_conditions
from attnflow.evaluation.pictures import image_grid, save_picture
from attnflow.training.diagnosis import first_non_finite

__all__ = ["ImagesPerSecond", "NonFiniteGuard", "SamplePictures"]


class SamplePictures(Callback):
    """Draws a grid of samples after validation, as PNG and to W&B.

    List it before the weight averaging: Lightning calls callbacks in order, and the averaged
    weights are in place only until the averaging's own hook.

    Args:
        directory: where the PNGs go.
        every_n_epochs: how often; the last epoch is always drawn.
        num_samples: images in the grid.
        seed: of the latents, the same at every epoch, so that pictures can be compared.
    """

    def __init__(
        self, directory: str, every_n_epochs: int = 10, num_samples: int = 64, seed: int = 0
    ) -> None:
        self.directory = Path(directory)
        self.every_n_epochs, self.num_samples, self.seed = every_n_epochs, num_samples, seed

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        due = epoch % self.every_n_epochs == 0 or epoch == trainer.max_epochs
        if not due or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        generator = torch.Generator(pl_module.device).manual_seed(self.seed)
        dataset = trainer.datamodule.dataset("val")
        number, conditions = chosen_conditions(pl_module.model, dataset, self.num_samples)
        images = pl_module.model.sample(number, conditions, generator=generator)
        picture = image_grid(images, pl_module.model.num_bins)
        save_picture(picture, self.directory / f"epoch_{epoch:04d}.png")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("samples", [picture.permute(1, 2, 0).numpy()])


class ImagesPerSecond(Callback):
    """Logs how many images a second training takes in, over all ranks, without validation.

    One figure an epoch, so that reading the clock costs nothing.
    """

    def __init__(self) -> None:
        self.images = 0
        self.rate = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.images, self.started = 0, time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Mapping[str, Tensor],
        batch_idx: int,
    ) -> None:
        self.images += len(batch["image"]) * trainer.world_size
        if batch_idx + 1 == trainer.num_training_batches:  # before validation starts
            self.rate = self.images / (time.perf_counter() - self.started)
            pl_module.log("images_per_second", self.rate, prog_bar=True, batch_size=1)


class NonFiniteGuard(Callback):
    """Stops training at a non-finite loss, before it reaches the weights, and says where.

    Raises:
        AttnFlowError: names the step, the transform whose output or log_det went non-finite
            first, and the last good checkpoint.
    """

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        if torch.isfinite(loss):
            return
        raise AttnFlowError(
            f"the loss is {loss.item()} at step {trainer.global_step}; "
            f"{self._where}; the last good checkpoint is {last_checkpoint(trainer)}."
        )

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Mapping[str, Tensor],
        batch_idx: int,
    ) -> None:
        self._trainer, self._module, self._batch = trainer, pl_module, batch

    @property
    def _where(self) -> str:
        noise = self._module.noise(self._batch, self._trainer.current_epoch)
        return first_non_finite(self._module.model, self._batch, noise)


def last_checkpoint(trainer: Trainer) -> str:
    """The path of the newest checkpoint that training wrote, or 'none'."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint):
            path = callback.last_model_path or callback.best_model_path
            if path:
                return path
    return "none"
