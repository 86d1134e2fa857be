"""Pictures for the loggers that can show one."""

from __future__ import annotations

from collections.abc import Iterable

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from torch import Tensor

__all__ = ["log_picture"]


def log_picture(loggers: Iterable[Logger], name: str, picture: Tensor, step: int) -> None:
    """Send a picture (3, H, W) in [0, 1] to every logger that can show one.

    Args:
        loggers: as ``trainer.loggers``; Weights & Biases and TensorBoard take pictures.
        name: of the series that the picture continues, such as ``samples``.
        step: the optimisation step, the axis of every other figure too.
    """
    pixels = (picture * 255).round().byte()  # W&B would show values in [0, 1] as black
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [pixels.permute(1, 2, 0).numpy()], step=step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, pixels, step)
