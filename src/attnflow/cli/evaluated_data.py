"""The data that a checkpoint is evaluated on: its own, or other images of the same kind."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from torch import Tensor

from attnflow.cli.containers import as_dict
from attnflow.cli.run_folder import lies_in
from attnflow.data import ImageDataModule
from attnflow.data.samples import Samples
from attnflow.errors import AttnFlowError
from attnflow.metrics.images import batches, fetch
from attnflow.models.build import build_data
from attnflow.spec import DataSpec
from attnflow.utils.validation import check_config

__all__ = [
    "changed_options",
    "check_classes",
    "class_frequencies",
    "evaluated_data",
    "is_other_data",
    "is_own_data",
    "other_data",
]

log = logging.getLogger(__name__)
# Options of ``data`` in conf/eval.yaml, where null keeps what the checkpoint holds; of processes,
# which a file does not start, the data's own default.
KEPT = ("data_dir", "global_batch_size", "num_workers")
# Options that change neither which images are tested on nor how they are marked.
SAME_IMAGES = (
    *("global_batch_size", "num_workers", "seed", "augment", "in_memory", "cache_dir"),
    *("check_images", "download", "streaming", "convert", "background", "skip_corrupt"),
)


def is_other_data() -> bool:
    """Whether this command was given a data set (``data=...``) in place of the checkpoint's."""
    return HydraConfig.get().runtime.choices.get("data") is not None


def is_own_data(changes: Mapping) -> bool:
    """Whether an evaluation is of the checkpoint's data, as no option names other images."""
    return not is_other_data() and changed_options(changes).keys() <= set(SAME_IMAGES)


def changed_options(changes: Mapping) -> dict[str, Any]:
    """The options of ``data`` that are given, as plain values; a null one of KEPT is not."""
    plain = as_dict(changes, resolve=True) if isinstance(changes, DictConfig) else changes
    return {name: value for name, value in plain.items() if value is not None or name not in KEPT}


def other_data(changes: Mapping) -> ImageDataModule:
    """The data module of options of another data set, whatever its images are.

    Raises:
        AttnFlowError: an option of another type.
    """
    return checked_data(changed_options(changes))


def checked_data(options: Mapping) -> ImageDataModule:
    """The data module of these options, whose types are checked."""
    check_config({"data": options})
    return build_data(options)


def evaluated_data(
    held: Mapping, spec: Mapping, changes: Mapping, own: str | Path
) -> ImageDataModule:
    """The data module of a checkpoint with other options, or another data set.

    Args:
        held: ``data`` of the checkpoint's config; nothing of it where another data set is chosen.
        spec: of the checkpoint's data, in plain values.
        changes: ``data`` of eval.py's config.
        own: the user's folder of data, in which the checkpoint may name where to write.

    Raises:
        AttnFlowError: an option of another type; a folder elsewhere that would be written to and
            that the checkpoint alone names; images of another shape, depth or kind than
            those of the training.
    """
    changed = changed_options(changes)
    kept = {name: value for name, value in held.items() if name != "num_workers"}
    datamodule = checked_data({**kept, **changed})
    for option, folder in datamodule.writes_to.items():
        if changed.get(option) is None and not lies_in(folder, Path(own)):
            added = "" if option in changes else "+"
            raise AttnFlowError(
                f"data.{option}: expected a folder that you name, as images would be written to "
                f"it, got {folder}, which the checkpoint names ({added}data.{option}={folder} "
                "allows it)."
            )
    trained, found = DataSpec.from_dict(spec), datamodule.spec
    for name in (field.name for field in fields(DataSpec)):
        if getattr(found, name) != getattr(trained, name):
            raise AttnFlowError(
                f"the data: expected {name} {getattr(trained, name)}, as in the checkpoint's "
                f"training, got {getattr(found, name)}."
            )
    return datamodule


def check_classes(held: Mapping, changes: Mapping) -> None:
    """Raise :class:`AttnFlowError` for classes in another order than a checkpoint learnt them in.

    Args:
        held, changes: as for :func:`evaluated_data`.
    """
    classes = changes.get("classes")
    if held.get("classes") is not None and classes not in (None, held["classes"]):
        raise AttnFlowError(
            f"data.classes: expected {list(held['classes'])}, in the order of the checkpoint's "
            f"labels, got {classes}."
        )


def class_frequencies(dataset: Samples, num_classes: int) -> Tensor:
    """The share of each class among the labels of a data set: (num_classes,)."""
    rows = batches(range(len(dataset)), 256)
    labels = torch.cat([fetch(dataset, numbers)["label"] for numbers in rows])
    return torch.bincount(labels, minlength=num_classes) / len(labels)
