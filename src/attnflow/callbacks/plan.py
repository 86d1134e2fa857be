"""Checks that the trainer's options fit the data and the length of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, Timer
from torch.optim import LBFGS

from attnflow.errors import ArgumentError, AttnFlowError, check_least
from attnflow.training.declared import datamodule_of, declared

__all__ = ["PlanCheck", "check_limits", "early_stoppings"]

# Least values of options that Lightning does not check, and that then fail or do nothing.
LEAST = {
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": 0,
    "log_every_n_steps": 1,
}


def check_limits(arguments: Mapping[str, object]) -> None:
    """Raise :class:`AttnFlowError` for an argument of the trainer with which nothing would happen.

    Args:
        arguments: of ``lightning.Trainer``, those of the type that it takes.
    """
    for name, least in LEAST.items():
        if arguments.get(name) is not None:
            check_least(name, arguments[name], least)
    for name in ("max_epochs", "max_steps"):
        if arguments.get(name) == 0:
            raise ArgumentError(name, "1 or more, or -1 for no limit", 0)
    interval = arguments.get("val_check_interval")
    if interval in (0, False):
        expected = "a share of an epoch above 0, a number of batches, a time or null"
        raise ArgumentError("val_check_interval", expected, interval)


class PlanCheck(Callback):
    """Raises :class:`AttnFlowError` where a plan does not fit the data, before anything is made.

    Args:
        splits: those that training needs, and its test.
    """

    def __init__(self, splits: Sequence[str] = ("train", "val")) -> None:
        self.splits = tuple(splits)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            count_batches(trainer, "test")
            return
        check_time(trainer)
        for stopping in early_stoppings(trainer):
            check_least("EarlyStopping.patience", stopping.patience, 0)
        batches = {split: count_batches(trainer, split) for split in self.splits}
        check_interval(trainer, batches["train"])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(trainer.optimizers[0], LBFGS):
            expected = "an optimizer that asks for one gradient a step, such as torch.optim.AdamW"
            raise AttnFlowError(f"optimizer._target_: expected {expected}, got torch.optim.LBFGS.")
        for group in trainer.optimizers[0].param_groups:
            check_optimizer(group, trainer.strategy.root_device.type)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning would end in a RuntimeError right after."""
        for stopping in early_stoppings(trainer):
            if stopping.strict and stopping.monitor not in trainer.callback_metrics:
                expected = f"one of {', '.join(sorted(trainer.callback_metrics))}"
                raise ArgumentError("EarlyStopping.monitor", expected, stopping.monitor)


def early_stoppings(trainer: Trainer) -> list[EarlyStopping]:
    """The callbacks that may stop a training early."""
    return [c for c in declared(trainer).callbacks if isinstance(c, EarlyStopping)]


def check_optimizer(options: Mapping[str, object], device: str) -> None:
    """Raise :class:`AttnFlowError` for options with which torch's optimizers fail at their step.

    Args:
        options: of a group of parameters.
        device: the kind that they lie on.
    """
    if options.get("differentiable"):
        raise AttnFlowError(
            "optimizer.differentiable: expected false, as training takes no gradient of its own "
            "steps, got true."
        )
    if options.get("capturable") and device == "cpu":
        raise AttnFlowError(
            "optimizer.capturable: expected false on the CPU, which has no CUDA graphs to capture "
            "a step in, got true."
        )


def count_batches(trainer: Trainer, split: str) -> int:
    """How many batches of a split an epoch or an evaluation has, on this rank; at least one."""
    there = len(getattr(datamodule_of(trainer), f"{split}_dataloader")())
    name = f"limit_{split}_batches"
    limit = getattr(trainer, name)
    if not there:
        raise AttnFlowError(f"the {split} split: expected one image or more, got none.")
    used = min(there, limit) if isinstance(limit, int) else int(there * limit)
    if not used:
        raise AttnFlowError(
            f"trainer.{name}: expected one or more of the {there} batches, or a share of them that "
            f"makes one, got {limit}."
        )
    return used


def check_interval(trainer: Trainer, batches: int) -> None:
    """Whether validation within an epoch of so many batches ever gets its turn."""
    interval = getattr(trainer, "val_check_interval", None)
    if trainer.check_val_every_n_epoch is None or type(interval) is not int:
        return
    if interval > batches:
        raise AttnFlowError(
            f"trainer.val_check_interval: expected at most the {batches} batches of an epoch, or "
            "trainer.check_val_every_n_epoch=null to count those of all training, got "
            f"{interval}."
        )


def check_time(trainer: Trainer) -> None:
    """Whether ``max_time`` is some time."""
    for timer in declared(trainer).callbacks:
        if isinstance(timer, Timer) and timer.time_remaining() == 0:
            raise AttnFlowError("trainer.max_time: expected more than no time, got 00:00:00:00.")
