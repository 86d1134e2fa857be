"""The conditions that a command is given for a checkpoint's model."""

from __future__ import annotations

from collections.abc import Iterable

from omegaconf import DictConfig

from attnflow.errors import AttnFlowError
from attnflow.models.image_model import ImageModel

__all__ = ["check_taken"]


def check_taken(config: DictConfig, options: Iterable[str], model: ImageModel) -> None:
    """Raise :class:`AttnFlowError` for a condition that a model does not take.

    Args:
        config: the command's.
        options: of it that name conditions, as ``label`` and ``condition``.
        model: of the checkpoint.
    """
    takes = None if model.conditioning is None else model.conditioning.field
    for option in options:
        if config[option] is not None and option != takes:
            raise AttnFlowError(
                f"{option}: expected null, as this model is conditioned on {takes or 'nothing'}, "
                f"got {config[option]}."
            )
