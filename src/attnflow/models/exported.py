"""A model as a folder to share: weights, config and a card, none of which holds code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from attnflow.errors import AttnFlowError
from attnflow.models.contents import check_mapping
from attnflow.utils.files import write_whole

__all__ = [
    "CARD",
    "DESCRIPTION",
    "HUB",
    "WEIGHTS",
    "from_hub",
    "import_hub",
    "read_exported",
    "shortened",
    "write_exported",
]

DIGEST = "sha256"  # of the weights' file, in the description
WEIGHTS, DESCRIPTION, CARD = "model.safetensors", "config.json", "README.md"
FILES = (WEIGHTS, DESCRIPTION)
HUB = "hf://"  # before the name of a model of the Hugging Face Hub


def write_exported(folder: Path, state: Mapping[str, Tensor], description: Mapping) -> None:
    """Write a model's weights and what rebuilds it.

    Args:
        folder: which is made if it is not there.
        state: the model's, by name.
        description: plain values, of which :func:`read_exported` gives all; the weights' digest
            is added.
    """
    weights = {name: value.contiguous().clone() for name, value in state.items()}
    content = save(weights, metadata={"format": "pt"})
    told = {**description, DIGEST: hashlib.sha256(content).hexdigest()}
    write_whole(folder / DESCRIPTION, json.dumps(told, indent=2) + "\n")
    write_whole(folder / WEIGHTS, content)


def read_exported(weights: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights and the description of an exported folder, of whose weights this is the path.

    Raises:
        AttnFlowError: a file of it is missing, damaged, or another program's.
    """
    path = weights.with_name(DESCRIPTION)
    try:
        description = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise AttnFlowError(
            f"the exported model {weights.parent}: expected {' and '.join(FILES)}, got no readable "
            f"{path.name} ({reason})."
        ) from error
    check_mapping(description, path, "its whole content")
    try:
        check_digest(weights, description.get(DIGEST))
        return load_file(weights), description
    except (OSError, SafetensorError) as error:
        raise AttnFlowError(
            f"the exported model {weights.parent}: expected the weights that attnflow export wrote "
            f"in {WEIGHTS}, got a file that is damaged or of another kind ({error})."
        ) from error


def check_digest(weights: Path, told: object) -> None:
    """Raise :class:`AttnFlowError` where the weights' file is not the one that was written.

    Args:
        weights: its path.
        told: its digest in the description; None in one that was written without.
    """
    if told is None:
        return
    with weights.open("rb") as file:
        digest = hashlib.sha256()
        while part := file.read(2**20):
            digest.update(part)
    if digest.hexdigest() != told:
        raise AttnFlowError(
            f"the exported model {weights.parent}: expected {DIGEST} {told!r:.80} of {WEIGHTS}, as "
            f"in {DESCRIPTION}, got {digest.hexdigest()}, so the file is damaged or another's."
        )


def from_hub(name: str) -> Path:
    """The folder of a model of the Hugging Face Hub, which is downloaded unless it was before.

    Only the weights, the config and the card are.

    Args:
        name: ``hf://user/name``, or ``hf://user/name@revision``.

    Raises:
        AttnFlowError: another name, no such model, no network, or no huggingface_hub.
    """
    hub = import_hub()
    repository, _, revision = name.removeprefix(HUB).partition("@")
    if repository.count("/") != 1:
        raise AttnFlowError(f"checkpoint {name}: expected {HUB}user/name.")
    try:
        folder = hub.snapshot_download(
            repository, revision=revision or None, allow_patterns=[*FILES, CARD]
        )
    except Exception as error:  # of the network, the library lets many kinds through
        raise AttnFlowError(
            f"checkpoint {name}: expected a model of the Hugging Face Hub that can be downloaded, "
            f"got {shortened(error)}."
        ) from error
    return Path(folder)


def shortened(error: Exception) -> str:
    """The kind of an error of the hub and its first sentences, on one line."""
    reason = shorten(str(error), 200, placeholder=" ...")
    return f"{type(error).__name__} ({reason})"


def import_hub() -> Any:
    """huggingface_hub, or one sentence about what brings it."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise AttnFlowError(
            "the Hugging Face Hub needs the package huggingface_hub, which is not installed; "
            "pip install 'attnflow[hub]' brings it."
        ) from error
    return huggingface_hub
