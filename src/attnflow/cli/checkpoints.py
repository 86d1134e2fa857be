"""The checkpoint that a command is given, and what it may name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from attnflow.errors import AttnFlowError
from attnflow.models.checkpoint import find_best
from attnflow.models.trust import TrustedNames, check_trust, targets_of_configs
from attnflow.utils.validation import as_path

__all__ = ["named_checkpoint", "run_folder", "trusted"]


def named_checkpoint(config: DictConfig) -> Path:
    """The absolute path of the checkpoint, or of an exported model's weights, of ``ckpt_path``.

    Raises:
        AttnFlowError: none is given, or there is none.
    """
    if config.ckpt_path is None:
        raise AttnFlowError(
            "ckpt_path: expected a checkpoint, as in ckpt_path=PATH/TO/best.ckpt, got none."
        )
    return find_best(as_path("ckpt_path", config.ckpt_path)).absolute()


def run_folder(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint lies in, or that of an exported model."""
    folder = checkpoint.resolve().parent
    return folder.parent if folder.name == "checkpoints" else folder


def trusted(names: Sequence[str] | str) -> TrustedNames:
    """Return the packages and classes that a checkpoint's config may name beside this package's.

    They are those of the option ``trust``, and those that the user's own ``conf/`` names in the
    groups of the model and the data; a line says so where such a one is called.
    """
    sources = HydraConfig.get().runtime.config_sources
    folders = [Path(source.path) for source in sources if source.schema == "file"]
    check_trust(names)
    named = {target: folder for folder in folders for target in targets_of_configs([folder])}
    return TrustedNames(names, named)
