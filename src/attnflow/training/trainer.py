"""The Lightning trainer, with the options that Lightning has not."""

from __future__ import annotations

from collections.abc import Sequence

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from attnflow.arguments import check_types
from attnflow.compilation import compile_flow
from attnflow.errors import check_choice
from attnflow.flow import Flow
from attnflow.training.callbacks import LoggedSteps
from attnflow.training.ending import LastStepValidation
from attnflow.training.plan import check_limits

__all__ = ["build_trainer"]

# In half precision throughout, determinants and solves would be lost; and noise is float32.
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


def build_trainer(
    compile: bool = False, callbacks: Sequence[Callback] = (), **arguments: object
) -> Trainer:
    """``lightning.Trainer(callbacks=callbacks, **arguments)`` that validates the last step.

    It may compile the flow, too.

    Args:
        compile: compile the flow's steps before they first run.
        callbacks: in the order in which Lightning calls them.
        arguments: of the trainer.

    Raises:
        AttnFlowError: a precision in which a flow is not exact, or an argument that the
            trainer does not take.
    """
    check_types(Trainer.__init__, arguments, "trainer")
    check_limits(arguments)
    added = [CompiledFlow()] if compile else []
    trainer = Trainer(callbacks=[LoggedSteps(), *callbacks, *added], **arguments)
    trainer.callbacks.append(LastStepValidation())  # after what Lightning has added and sorted
    check_choice("trainer.precision", trainer.precision, PRECISIONS)
    return trainer


class CompiledFlow(Callback):
    """Compiles the flow of the module that is trained or tested, once."""

    def __init__(self) -> None:
        self.flow: Flow | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.flow is not pl_module.model.flow:
            self.flow = pl_module.model.flow
            compile_flow(self.flow)
