"""The rate at which training takes in images."""

from __future__ import annotations

import time
from collections.abc import Mapping

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

__all__ = ["ImagesPerSecond"]


class ImagesPerSecond(Callback):
    """Logs how many images a second training takes in, over all ranks, without validation.

    One rate an epoch, so that reading the clock costs nothing.

    Attributes:
        images: of the whole run, all its legs.
        seconds: that training took for them.
    """

    def __init__(self) -> None:
        self.images, self.seconds = 0, 0.0
        self.epoch_images, self.epoch_seconds = 0, 0.0
        self.since: float | None = None  # None while the clock stands

    @property
    def rate(self) -> float | None:
        """Images a second of the whole run; None where nothing was trained."""
        return self.images / self.seconds if self.images else None

    def start(self) -> None:
        """Let the clock run."""
        self.since = time.perf_counter()

    def stop(self) -> None:
        """Halt the clock and add up what it shows."""
        if self.since is not None:
            passed = time.perf_counter() - self.since
            self.seconds, self.epoch_seconds = self.seconds + passed, self.epoch_seconds + passed
            self.since = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.start()  # perhaps in the middle of an epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epoch_images, self.epoch_seconds = 0, 0.0
        self.start()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Mapping[str, Tensor],
        batch_idx: int,
    ) -> None:
        number = len(batch["image"]) * trainer.world_size
        self.images, self.epoch_images = self.images + number, self.epoch_images + number

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.stop()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.start()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.stop()
        if self.epoch_images:
            rate = self.epoch_images / self.epoch_seconds
            pl_module.log("images_per_second", rate, prog_bar=True, batch_size=1)

    def state_dict(self) -> dict[str, float]:
        running = 0.0 if self.since is None else time.perf_counter() - self.since
        return {"images": self.images, "seconds": self.seconds + running}

    def load_state_dict(self, state_dict: Mapping[str, float]) -> None:
        self.images, self.seconds = int(state_dict["images"]), state_dict["seconds"]
