"""What tests put into the ranks that a command starts: importable there by its name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch.utils.data import Dataset

from attnflow.data import DigitsDataModule
from attnflow.data.samples import TensorImages

__all__ = ["COMMAND", "FewerDigits", "Interrupted", "Probe"]

# Names the process that a rank works for, where that is not its parent.
COMMAND = "TESTED_COMMAND"


class Probe(Callback):
    """Writes down what a rank holds, and makes one rank go wrong.

    Args:
        folder: of one file a rank, ``rank_0.pt`` and so on, and of ``started``, a line a process.
        how: what happens to ``rank`` at ``step``: it raises, is killed, hangs, or has the command
            told to stop.
    """

    def __init__(self, folder: str, how: str | None = None, rank: int = 1, step: int = 1) -> None:
        self.folder, self.how, self.rank, self.step = Path(folder), how, rank, step
        self.held: dict[str, object] = {"batches": []}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            with (self.folder / "started").open("a") as file:
                file.write(f"{trainer.global_rank} {os.getpid()}\n")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.held["start"] = {n: v.clone() for n, v in pl_module.state_dict().items()}

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: dict, batch_idx: int
    ) -> None:
        self.held["batches"].append(batch["index"])
        if self.how and (trainer.global_rank, trainer.global_step) == (self.rank, self.step):
            self.go_wrong()

    def go_wrong(self) -> None:
        if self.how == "raise":
            raise RuntimeError("this rank has had enough")
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "hang":
            (self.folder / "hanging").touch()
            while True:
                time.sleep(0.1)
        os.kill(int(os.environ.get(COMMAND, os.getppid())), signal.SIGTERM)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.held["end"] = pl_module.state_dict()
        torch.save(self.held, self.folder / f"rank_{trainer.global_rank}.pt")


class Interrupted(Callback):
    """Is ended by a signal while it is made, and cannot clean up what was half done."""

    def __init__(self) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            raise KeyError("half of a copy")


class FewerDigits(DigitsDataModule):
    """A test split of 295 images, which neither 2 nor 3 divides."""

    def read(self, split: str) -> Dataset:
        fields = super().read(split).fields
        rows = slice(0, 295 if split == "test" else None)
        return TensorImages(**{name: values[rows] for name, values in fields.items()})
