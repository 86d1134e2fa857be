"""Files shared by runs: written atomically, read without running code, keyed by content."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from lightning import Trainer
from torch import Tensor

from attnflow.data.base import ImageDataModule
from attnflow.errors import AttnFlowError
from attnflow.metrics.images import fetch, to_extract
from attnflow.utils.files import remove_leftovers, serialized, write_whole

__all__ = ["UNREADABLE", "describe_split", "digest", "on_rank_zero", "read", "save"]

# The errors of torch.load at files that are truncated, damaged or of another kind.
UNREADABLE = (
    RuntimeError,
    EOFError,
    OSError,
    BadZipFile,
    pickle.UnpicklingError,
    LookupError,
    ValueError,
    AttributeError,
)
DAY = 86_400.0  # seconds
# How many images, spread over the split, tell data of different settings apart.
PROBES = 16


def save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors, whole or not at all.

    Raises:
        WriteError: the disk is full, or whatever else is wrong with it.
    """
    write_whole(path, serialized({name: value.cpu() for name, value in tensors.items()}))
    remove_leftovers(path.parent, older_than=DAY)


def read(path: Path) -> dict[str, Tensor] | None:
    """The tensors of a file, on the CPU; None where it is missing or damaged.

    No code in the file is run.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE:
        return None


def describe_split(datamodule: ImageDataModule, split: str) -> dict[str, Any]:
    """Describe a split so that no other matches: its class, spec, name, number, some pixels."""
    dataset = datamodule.dataset(split)
    count = len(dataset)
    probes = [i * count // PROBES for i in range(PROBES)]
    images = to_extract(fetch(dataset, probes)["image"], datamodule.spec)
    pixels = images.contiguous().cpu().numpy().tobytes()
    return {
        "class": f"{type(datamodule).__module__}.{type(datamodule).__qualname__}",
        "spec": datamodule.spec.as_dict(),
        "split": split,
        "num_images": count,
        "pixels": hashlib.sha256(pixels).hexdigest(),
    }


def digest(described: Mapping[str, object]) -> str:
    """Hash plain values to 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]


def on_rank_zero(trainer: Trainer, task: Callable[[], None]) -> None:
    """Run ``task`` on rank 0 while the others wait; its AttnFlowError is raised on all ranks."""
    sentence = None
    if trainer.is_global_zero:
        try:
            task()
        except AttnFlowError as error:
            sentence = str(error)
    sentence = trainer.strategy.broadcast(sentence)
    if sentence is not None:
        raise AttnFlowError(sentence)
