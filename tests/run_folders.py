"""Folders as runs leave them, and the page that a report makes of them."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import yaml


def write_run(
    folder: Path,
    results: dict | str | None = None,
    error: str = "",
    config: dict | None = None,
    **settings,
) -> Path:
    """A run's folder, as train.py leaves it, with these overrides (``__`` for a dot).

    Args:
        config: more of the composed config, which the overrides are not written into.
    """
    overrides = {key.replace("__", "."): str(value) for key, value in settings.items()}
    groups = {key: value for key, value in overrides.items() if "." not in key and key != "seed"}
    choices = {"attention": "imap", "placement": "after_coupling", "hydra/launcher": "basic"}
    files = {
        "overrides": [f"{key}={value}" for key, value in overrides.items()],
        "hydra": {"hydra": {"runtime": {"choices": choices | groups}}},
        "config": {"seed": 0, "model": {"levels": 2}, "optimizer": {"lr": "${lr}"}}
        | (config or {}),
    }
    (folder / ".hydra").mkdir(parents=True)
    for name, content in files.items():
        (folder / ".hydra" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    if isinstance(results, dict):
        results = json.dumps({"params": 1000, "images_per_second": 50.0} | results)
    if results is not None:
        (folder / "results.json").write_text(results)
    if error:
        (folder / "error.txt").write_text(error)
    return folder


def write_curve(folder: Path, *values: float) -> None:
    (folder / "csv" / "version_0").mkdir(parents=True)
    rows = [f"{10 * step},{value}" for step, value in enumerate(values, 1)]
    text = "\n".join(["step,val/bpd", *rows])
    (folder / "csv" / "version_0" / "metrics.csv").write_text(text + "\n")


class Outline(HTMLParser):
    """The words of a page, white space as a browser shows it, and all that it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words, self.loaded, self.tags = "", [], []
        self.feed(text)
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.loaded += [value for name, value in attrs if name in ("src", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.words += data
