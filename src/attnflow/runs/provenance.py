"""The code revision and package versions that a run was made with."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from attnflow.utils.files import write_whole

__all__ = ["write_environment"]

PACKAGES = ("attnflow", "torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "numpy")


def write_environment(directory: Path) -> Path:
    """Write ``environment.json``: Python, packages and the git revision of the code."""
    path = directory / "environment.json"
    versions = {name: version(name) for name in PACKAGES}
    held = {"git_revision": git_revision(), "python": platform.python_version(), **versions}
    return write_whole(path, json.dumps(held, indent=2) + "\n")


def git_revision() -> str | None:
    """The commit that the code lies in, or None outside a checkout."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
