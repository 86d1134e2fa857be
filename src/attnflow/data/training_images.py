"""The training images that an evaluation compares with, if they are available."""

from __future__ import annotations

import logging

from attnflow.data import ImageDataModule
from attnflow.data.samples import Samples
from attnflow.errors import AttnFlowError

__all__ = ["training_images"]

log = logging.getLogger(__name__)


def training_images(datamodule: ImageDataModule, purpose: str) -> Samples | None:
    """The training split; None, with one line, where it cannot be read, as of test images alone."""
    try:
        return datamodule.dataset("train")
    except AttnFlowError as error:
        log.warning("%s needs training images and is left out: %s", purpose, error)
        return None
