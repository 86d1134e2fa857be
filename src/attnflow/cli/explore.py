"""A page over trained models, served to a browser until the command ends."""

from __future__ import annotations

import os
import threading
from importlib import import_module
from types import ModuleType

from omegaconf import DictConfig

from attnflow.cli.containers import as_dict
from attnflow.cli.evaluate import trusted
from attnflow.cli.evaluated_data import evaluated_data
from attnflow.errors import AttnFlowError, check_count
from attnflow.explore.found import found_models, joined
from attnflow.explore.opened import Shelf
from attnflow.runs.results import print_notes
from attnflow.utils.devices import chosen_device
from attnflow.utils.validation import as_path, check_value

__all__ = ["explore"]

# gradio and the hub's client tell their makers nothing of what is done with them.
SILENT = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}


def explore(config: DictConfig) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Raises:
        AttnFlowError: no model at a path, no gradio, or an address that cannot be listened at.
    """
    check_value("host", config.host, str)
    check_count("port", config.port, least=0)
    check_count("test_images", config.test_images, least=2)
    shelf, second = shelf_of(config)
    os.environ.update(SILENT)
    with import_serve().served(shelf, second, config.host, config.port) as address:
        print_notes({"models": len(shelf.names), "page": address, "end": "Ctrl-C"})
        wait()


def wait() -> None:
    """Wait until a signal ends the command."""
    threading.Event().wait()


def shelf_of(config: DictConfig) -> tuple[Shelf, str]:
    """The models of the options, and the name of the one to compare with at first."""
    if config.ckpt_path is None:
        raise AttnFlowError(
            "ckpt_path: expected a checkpoint, or a folder of runs, as in "
            "ckpt_path=PATH/TO/best.ckpt, got none."
        )
    paths = found_models(as_path("ckpt_path", config.ckpt_path))
    first = len(paths)
    if config.other is not None:
        paths = joined(paths, found_models(as_path("other", config.other)))
    changes = as_dict(config)["data"]
    shelf = Shelf(
        paths,
        lambda held, spec: evaluated_data(held, spec, changes, config.paths.data_dir),
        chosen_device(config.device),
        trusted(config.trust),
        config.test_images,
    )
    others = [*shelf.names[first:], *shelf.names[1:], *shelf.names]
    shelf.open(shelf.names[0])  # a file that is none is told before a page is there
    return shelf, others[0]


def import_serve() -> ModuleType:
    """The module that serves the page, or one sentence about what brings gradio."""
    try:
        return import_module("attnflow.explore.page.serve")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "attnflow":
            raise
        raise AttnFlowError(
            f"attnflow explore needs the package {error.name}, which is not installed; "
            "pip install 'attnflow[explore]' brings it."
        ) from error
