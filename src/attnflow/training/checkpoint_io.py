"""Writing checkpoints so that neither a kill nor a full disk costs the one before."""

from __future__ import annotations

import errno
import io
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from attnflow.utils.plain import plain

__all__ = ["LAST", "PREVIOUS", "SafeCheckpointIO"]

LAST = "last.ckpt"
PREVIOUS = "last.previous.ckpt"
# Room may be made while training goes on; what else goes wrong is not for us to hide.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

log = logging.getLogger(__name__)


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes to a temporary file beside the target, flushes it to the disk and renames it.

    At every moment the target is a whole checkpoint: the old one or the new one. The last
    ``last.ckpt`` stays as ``last.previous.ckpt``. Where the disk is full, the old checkpoint
    stays, training goes on and a warning says so. Only plain values are written, so that every
    checkpoint can be read back.
    """

    def save_checkpoint(
        self, checkpoint: Mapping[str, Any], path: str | Path, storage_options: object = None
    ) -> None:
        path = Path(path)
        temporary = path.with_name(f"{path.name}.tmp")
        # torch's own writer may end the process where a write fails.
        content = io.BytesIO()
        torch.save(plain(checkpoint, "the checkpoint"), content)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            if path.name == LAST and path.exists():
                keep(path, path.with_name(PREVIOUS))
            temporary.replace(path)
            flush_folder(path.parent)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            if error.errno not in NO_ROOM:
                raise
            kept = "the one before stays" if path.exists() else "there is none yet"
            log.warning(
                "checkpoint %s of step %s could not be written (%s); %s, and training goes on.",
                path,
                checkpoint.get("global_step"),
                error.strerror,
                kept,
            )


def keep(path: Path, name: Path) -> None:
    """Give a file a second name, in one step; the file itself does not move."""
    link = name.with_name(f"{name.name}.tmp")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:  # a file system without hard links: for a moment there is no last.ckpt
        link = path
    link.replace(name)


def flush_folder(folder: Path) -> None:
    """Bring a rename to the disk, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
