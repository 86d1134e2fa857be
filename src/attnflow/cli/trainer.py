"""The Lightning trainer, with options that Lightning lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from attnflow.callbacks.compiled_flow import CompiledFlow
from attnflow.callbacks.ending import LastStepValidation
from attnflow.callbacks.logged_steps import LoggedSteps
from attnflow.callbacks.plan import check_limits
from attnflow.errors import ArgumentError, check_choice
from attnflow.training.declared import declared
from attnflow.utils.validation import check_options

__all__ = ["build_trainer"]

# Pure half precision is left out: determinants and solves need float32, as does the noise.
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
# Lightning's shorter names of them.
SHORTER = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed", "None": "32-true"}


def build_trainer(
    compile: bool = False, callbacks: Sequence[Callback] = (), **arguments: Any
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
    given = arguments.get("precision")
    precision = SHORTER.get(str(given), given)
    check_choice("precision", precision, PRECISIONS)
    check_options(Trainer, arguments, "")
    check_limits(arguments)
    added = [CompiledFlow()] if compile else []
    trainer = Trainer(callbacks=[LoggedSteps(), *callbacks, *added], **arguments)
    # Appended last, as Lightning sorts the callbacks that its constructor takes.
    declared(trainer).callbacks.append(LastStepValidation())
    check_choice("precision", trainer.precision, PRECISIONS)  # a plugin may bring another
    if precision == "16-mixed" and trainer.precision != precision:
        # Lightning would only warn.
        raise ArgumentError("precision", "32-true or bf16-mixed on a CPU", given)
    return trainer
