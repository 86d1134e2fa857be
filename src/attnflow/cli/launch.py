"""Tell which of a run's processes this one is, under SLURM, torchrun or on several nodes."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from omegaconf import DictConfig

from attnflow.errors import AttnFlowError

__all__ = ["agree", "by_slurm", "by_torchrun", "is_first", "is_single"]

# Seconds that torchrun's other processes wait for the first one to name their folder.
PATIENCE = 300.0


def is_single(config: DictConfig) -> bool:
    """Whether a run is one process: one device, no strategy."""
    options = config.get("trainer") or {}
    given = options.get("devices", 1), options.get("num_nodes", 1), options.get("strategy")
    return given == (1, 1, None)


def by_torchrun(config: DictConfig) -> bool:
    """Whether torchrun, or a launcher like it, started this process as one of a run's."""
    several = int(os.environ.get("WORLD_SIZE") or 1) > 1
    return several and "RANK" in os.environ and not is_single(config)


def by_slurm(config: DictConfig) -> bool:
    """Whether SLURM started this process as one of a run's."""
    several = int(os.environ.get("SLURM_NTASKS") or 1) > 1
    return several and "SLURM_PROCID" in os.environ and not is_single(config)


def is_first(config: DictConfig) -> bool:
    """Whether this is the process that makes the run's folder; the run's others share it."""
    if by_torchrun(config):
        return os.environ["RANK"] == "0"
    if by_slurm(config):
        return os.environ["SLURM_PROCID"] == "0"
    several_nodes = (config.get("trainer") or {}).get("num_nodes", 1) != 1
    return not several_nodes or os.environ.get("NODE_RANK", "0") == "0"


def agree(folder: Path | None) -> Path:
    """Return the folder of torchrun's first process in all of its processes.

    Args:
        folder: in the first process; None in the others.

    Raises:
        AttnFlowError: torchrun keeps no store for them to agree in.
    """
    # Imported here: it takes seconds, and only torchrun's processes need it. It is documented as
    # torch.distributed's, which does not list it in __all__.
    from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

    environment = os.environ
    if environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise AttnFlowError(
            "hydra.run.dir: expected a folder, the same for all processes that torchrun starts, "
            "got none."
        )
    store = TCPStore(
        environment["MASTER_ADDR"],
        int(environment["MASTER_PORT"]),
        is_master=False,
        timeout=timedelta(seconds=PATIENCE),
    )
    key = f"attnflow/folder/{environment.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    if folder is not None:
        store.set(key, str(folder))
    return Path(store.get(key).decode())
