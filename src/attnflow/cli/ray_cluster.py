"""The Ray that runs the jobs of ``launcher=ray``: it is joined, or started, before the launcher."""

from __future__ import annotations

from collections.abc import Mapping

from omegaconf import DictConfig, OmegaConf

from attnflow.errors import AttnFlowError

__all__ = ["is_on_ray", "join_ray", "leave_ray"]


def is_on_ray(hydra: DictConfig) -> bool:
    """Whether a sweep's jobs are Ray's, by Hydra's own part of a composed config."""
    return hydra.launcher._target_.endswith("RayLauncher")


def join_ray(config: DictConfig) -> None:
    """Join the Ray that a composed config names, or start it.

    The launcher would do so later, where Ray replaces the handlers of signals that end a sweep.

    Raises:
        AttnFlowError: there is no such Ray, or no job would run on it as the options say.
    """
    import ray
    from hydra_plugins.hydra_ray_launcher._launcher_util import start_ray

    options = config.hydra.launcher.ray
    try:
        start_ray(options.init)
    except (ConnectionError, RuntimeError, TypeError, ValueError) as error:
        told = OmegaConf.to_container(options.init, resolve=True)
        raise AttnFlowError(
            "hydra.launcher.ray.init: expected options of ray.init with which a Ray starts, or the "
            f"address of one that runs, got {told} ({' '.join(str(error).split())})."
        ) from error
    check_resources(
        options, ray.cluster_resources(), OmegaConf.select(config, "trainer.accelerator")
    )


def leave_ray() -> None:
    """Leave the Ray, and end it where it is this process's own."""
    import ray

    ray.shutdown()


def check_resources(options: DictConfig, has: Mapping[str, float], accelerator: str | None) -> None:
    """Check what each job takes.

    Args:
        options: of the launcher, with ``init`` and ``remote``.
        has: what the Ray has, by Ray's own names.
        accelerator: that the jobs train on, by Lightning's names.

    Raises:
        AttnFlowError: jobs would wait for ever, or train without the GPUs that there are.
    """
    gpus = has.get("GPU", 0)
    for name, there in (("num_cpus", has.get("CPU", 0)), ("num_gpus", gpus)):
        taken = options.remote.get(name) or 0
        # Another Ray than one's own can grow.
        if options.init.get("address") == "local" and taken > there:
            raise AttnFlowError(
                f"hydra.launcher.ray.remote.{name}: expected {there:g} at most, all that this "
                f"Ray has, got {taken}."
            )
    if gpus and not options.remote.get("num_gpus") and accelerator != "cpu":
        raise AttnFlowError(
            f"hydra.launcher.ray.remote.num_gpus: expected how many of the Ray's {gpus:g} GPUs "
            "each job takes, or trainer=cpu, got 0."
        )
