"""The checkpoint to resume from: written at intervals, and when a signal ends the training."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from attnflow.callbacks.ending import ends_here
from attnflow.errors import check_least
from attnflow.training.checkpoint_io import LAST
from attnflow.training.declared import declared
from attnflow.utils.distributed import all_reduce_max
from attnflow.utils.plain import plain
from attnflow.utils.signals import ENDING, end, second_ends

__all__ = ["LastCheckpoint"]

# SIGUSR1: SLURM's warning, with --signal=SIGUSR1@90. SIGUSR2: the one that submitit has SLURM send.
SIGNALS = (*ENDING, signal.SIGUSR1, signal.SIGUSR2)

log = logging.getLogger(__name__)


class LastCheckpoint(Checkpoint):
    """Keeps ``last.ckpt`` no older than ``every_n_steps`` steps, and writes it at an epoch's end
    and at the end of training, after validation.

    At a signal, training ends after the step that it is in, once ``last.ckpt`` holds that step,
    with exit status 128 + signal; ``resume=`` goes on with the next one. Validation is ended
    first. A second Ctrl-C ends it at once. SLURM is told to requeue the job, at SIGUSR1; at a
    signal that something else waits for, such as submitit, it gets its turn.

    List it after the checkpoints of the best weights, whose scores it holds.

    Args:
        directory: where ``last.ckpt`` goes.
        every_n_steps: the most steps that a kill can cost.
    """

    def __init__(self, directory: str, every_n_steps: int = 500) -> None:
        check_least("every_n_steps", every_n_steps, 1)
        self.path = Path(directory) / LAST
        self.every_n_steps = every_n_steps
        self.saved_step = 0
        self.last_model_path = ""
        self.received = 0
        self.handlers: dict[int, Callable | int | None] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if threading.current_thread() is threading.main_thread():
            self.handlers = {signum: signal.getsignal(signum) for signum in SIGNALS}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Fail now, and not hours later at the first checkpoint.
        for callback in declared(trainer).callbacks:
            plain(callback.state_dict(), f"the state of {type(callback).__name__}")
        # Lightning has by now installed its own handlers, which talk to the other ranks, or
        # save, in the middle of a step.
        self.saved_step = trainer.global_step
        if trainer.received_sigterm:  # by them, who would train on
            end(signal.SIGTERM, None)
        for signum, before in self.handlers.items():
            if before != signal.SIG_IGN:  # as nohup has SIGHUP
                signal.signal(signum, self._note)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if second_ends(self.received, signum):
            end(signum, frame)
        self.received = self.received or signum

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        if trainer.is_last_batch or ends_here(trainer):
            return  # after validation is the better moment
        received = self._received_by_any_rank(trainer)
        due = trainer.global_step - self.saved_step >= self.every_n_steps
        if received or due:
            self._save(trainer)
        if received:
            self._end(trainer, received)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Saved within an epoch only: at its end, the checkpoint would count the epoch as complete.
        if trainer.state.fn == "fit" and ends_here(trainer) and not trainer.is_last_batch:
            self._save_and_end_if_told(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save_and_end_if_told(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore_handlers()  # there is nothing to save, and Lightning would go on testing

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._restore_handlers()
        if isinstance(exception, SystemExit) and trainer.testing and trainer.is_global_zero:
            log.warning("the test was ended by a signal; resume=%s makes it again.", self.path)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._restore_handlers()
        # A signal may arrive after the last step was saved, while training is wound up.
        if stage == "fit" and (received := self._received_by_any_rank(trainer)):
            self._end(trainer, received)

    def _restore_handlers(self) -> None:
        for signum, handler in self.handlers.items():
            signal.signal(signum, handler)

    def _received_by_any_rank(self, trainer: Trainer) -> int:
        """The signal to end at, the same on all ranks; 0 for none."""
        if trainer.world_size == 1:
            return self.received
        return int(all_reduce_max(torch.tensor(self.received, device=trainer.strategy.root_device)))

    def _save_and_end_if_told(self, trainer: Trainer) -> None:
        self._save(trainer)
        if received := self._received_by_any_rank(trainer):
            self._end(trainer, received)

    def _save(self, trainer: Trainer) -> None:
        if trainer.global_step == self.saved_step or declared(trainer).fast_dev_run:
            return
        # Set before the file is written, so that the checkpoint itself names its path.
        self.saved_step, self.last_model_path = trainer.global_step, str(self.path)
        trainer.save_checkpoint(self.path)

    def _end(self, trainer: Trainer, signum: int) -> None:
        name = signal.Signals(signum).name
        if trainer.is_global_zero:
            log.warning(
                "%s: training ends after step %d; %s.",
                name,
                trainer.global_step,
                f"resume={self.path} goes on from there" if self.path.exists() else "it is lost",
            )
            if signum == signal.SIGUSR1 and "SLURM_JOB_ID" in os.environ:
                requeue()
        before = self.handlers.get(signum)
        if callable(before):
            before(signum, None)
        raise SystemExit(128 + signum)


def requeue() -> None:
    """Tell SLURM to run this job, or this task of a job array, again."""
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        log.warning("SLURM could not be told to requeue job %s (%s).", job, error)
