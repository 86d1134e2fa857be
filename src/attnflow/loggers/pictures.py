"""Pictures for the loggers that can show one."""

from __future__ import annotations

from collections.abc import Iterable

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from torch import Tensor

__all__ = ["log_picture"]


def log_picture(
    loggers: Iterable[Logger], name: str, picture: Tensor, step: int, caption: str = ""
) -> None:
    """Send a picture (3, H, W) in [0, 1] to every logger that can show one.

    Args:
        loggers: as ``trainer.loggers``; Weights & Biases, TensorBoard and MLflow take pictures.
        name: of the series that the picture continues, such as ``samples``.
        step: the optimisation step, the axis of every other figure too.
        caption: below the picture, where a logger shows one.
    """
    pixels = (picture * 255).round().byte()  # W&B would show values in [0, 1] as black
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            image = pixels.permute(1, 2, 0).numpy()
            captions = {"caption": [caption]} if caption else {}
            logger.log_image(name, [image], step=step, **captions)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, pixels, step)
            logger.experiment.flush()  # the last one has nothing behind it that would
        elif isinstance(logger, MLFlowLogger):
            image = pixels.permute(1, 2, 0).numpy()
            logger.experiment.log_image(logger.run_id, image, key=name, step=step)
