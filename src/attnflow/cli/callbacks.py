"""The callbacks that Hydra runs around a run or a sweep; conf/hydra names them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from attnflow.cli.ray_cluster import is_on_ray, join_ray, leave_ray
from attnflow.cli.run_folder import claim_run_folder, option_of_folder
from attnflow.cli.sweep_folder import claim_sweep_folder
from attnflow.cli.sweep_options import check_sweep_options
from attnflow.cli.workers import Command, in_worker
from attnflow.errors import AttnFlowError
from attnflow.runs.folder_lock import release_folder
from attnflow.utils.validation import check_value

__all__ = ["OwnFolders"]

# No attribute of the callback, as launchers pickle the callback for their workers.
_commands: list[Command] = []


class OwnFolders(Callback):
    """Gives every run and every sweep a folder of its own, before Hydra writes anything.

    A sweep's jobs that run in other processes end with the command.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Claim ``hydra.run.dir``."""
        claim(claim_run_folder, config, "hydra.run.dir")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Claim ``hydra.sweep.dir``."""
        try:
            check_sweep_options(config.hydra)
            if is_on_ray(config.hydra):
                join_ray(config)
        except AttnFlowError as error:
            sys.exit(f"error: {error}")
        claim(claim_sweep_folder, config, "hydra.sweep.dir")
        if in_worker(config.hydra):
            on_cluster = config.hydra.launcher._target_.endswith("SlurmLauncher")
            _commands.append(Command(Path(config.hydra.sweep.dir), on_cluster))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Release the claimed folders."""
        release_folder(Path(config.hydra.sweep.dir))
        if is_on_ray(config.hydra):
            leave_ray()
        while _commands:
            _commands.pop().finish()


def claim(claim_folder: Callable[[DictConfig], None], config: DictConfig, option: str) -> None:
    """Claim a folder, or exit with one sentence: Hydra would only warn of what is raised."""
    try:
        check_value("overwrite", config.get("overwrite"), bool)
        with resolvable(config):
            try:
                claim_folder(config)
            except AttnFlowError:
                release_folder(Path(OmegaConf.select(config, option)))
                raise
    except AttnFlowError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        place = error.filename or OmegaConf.select(config, option)
        sys.exit(
            f"error: {option_of_folder(config, option)}: expected a folder that can be written to, "
            f"got {place} ({error.strerror})."
        )
    except OmegaConfBaseException as error:
        name, reason = option_of_folder(config, option), " ".join(str(error).split())
        sys.exit(f"error: {name}: expected a folder, got one that {reason}")


@contextmanager
def resolvable(config: DictConfig) -> Iterator[None]:
    """Let names with ``${hydra:...}`` in them be resolved, as Hydra itself does later on."""
    hydra_config = HydraConfig.instance()
    before = hydra_config.cfg
    hydra_config.set_config(config)
    try:
        yield
    finally:
        hydra_config.cfg = before
