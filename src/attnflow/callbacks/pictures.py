"""Pictures during training, as files in the run's folder and in the loggers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from matplotlib.figure import Figure

from attnflow.callbacks.ending import falls_due
from attnflow.errors import check_least
from attnflow.loggers.pictures import log_picture
from attnflow.pictures.attention import MOST_COLUMNS, attention_picture
from attnflow.pictures.conditions import chosen_conditions
from attnflow.pictures.samples import class_labels, image_grid, spread_batch
from attnflow.pictures.sheet import check_formats, pixels, save_picture
from attnflow.training.declared import datamodule_of, flow_module
from attnflow.utils.decoration import decoration

__all__ = ["AttentionPictures", "SamplePictures"]


class _Pictures(Callback):
    """Draws a picture after validation.

    List it before the weight averaging: Lightning calls callbacks in order, and the averaged
    weights are in place only until the averaging's own hook.

    Args:
        directory: where the files go.
        every_n_epochs: how often; the last step is always drawn.
        formats: of the files, of png, pdf and svg.
    """

    name: str  # of the series, in the loggers
    prefix = ""  # of the files

    def __init__(self, directory: str, every_n_epochs: int, formats: Sequence[str]) -> None:
        check_least(f"{type(self).__name__}'s every_n_epochs", every_n_epochs, 1)
        check_formats(f"{type(self).__name__}'s formats", formats)
        self.directory, self.every_n_epochs = Path(directory), every_n_epochs
        self.formats = formats

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        due = trainer.state.fn == "fit" and falls_due(trainer, self.every_n_epochs)
        if not due or not trainer.is_global_zero:
            return
        path = self.directory / f"{self.prefix}epoch_{epoch:04d}.png"
        with decoration(f"picture {path.name}"):
            picture = self.draw(trainer, pl_module)
            if picture is not None:
                with decoration(f"picture {self.name} in the loggers"):
                    step = trainer.global_step
                    log_picture(trainer.loggers, self.name, pixels(picture), step, f"epoch {epoch}")
                save_picture(picture, path, self.formats)

    def draw(self, trainer: Trainer, pl_module: LightningModule) -> Figure | None:
        """The picture; None where there is nothing to see."""
        raise NotImplementedError


class SamplePictures(_Pictures):
    """Draws a grid of samples after validation.

    List it before the weight averaging, which takes the averaged weights away again.

    Args:
        directory: where the files go.
        every_n_epochs: how often; the last step is always drawn.
        formats: of the files, of png, pdf and svg.
        num_samples: images in the grid.
        seed: of the latents, the same at every epoch, so that pictures can be compared.
    """

    name = "samples"

    def __init__(
        self,
        directory: str,
        every_n_epochs: int = 10,
        num_samples: int = 64,
        seed: int = 0,
        formats: Sequence[str] = ("png",),
    ) -> None:
        super().__init__(directory, every_n_epochs, formats)
        self.num_samples, self.seed = num_samples, seed

    def draw(self, trainer: Trainer, pl_module: LightningModule) -> Figure:
        generator = torch.Generator(pl_module.device).manual_seed(self.seed)
        dataset = datamodule_of(trainer).dataset("val")
        model = flow_module(pl_module).model
        number, conditions = chosen_conditions(model, dataset, self.num_samples)
        images = model.sample(number, conditions, generator=generator)
        epoch, step = trainer.current_epoch + 1, trainer.global_step
        title = f"{number} samples after epoch {epoch}, step {step}"
        return image_grid(images, model.num_bins, title, class_labels(conditions))


class AttentionPictures(_Pictures):
    """Draws where the attentions look, over validation images; nothing for a flow without.

    List it before the weight averaging, which takes the averaged weights away again.

    Args:
        directory: where the files go.
        every_n_epochs: how often; the last step is always drawn.
        formats: of the files, of png, pdf and svg.
    """

    name = "attention"
    prefix = "attention_"

    def __init__(
        self, directory: str, every_n_epochs: int = 10, formats: Sequence[str] = ("png",)
    ) -> None:
        super().__init__(directory, every_n_epochs, formats)

    def draw(self, trainer: Trainer, pl_module: LightningModule) -> Figure | None:
        dataset = datamodule_of(trainer).dataset("val")
        batch = spread_batch(dataset, MOST_COLUMNS, pl_module.device)
        return attention_picture(flow_module(pl_module).model, batch)
