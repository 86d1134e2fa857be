"""A trained model as a folder to share."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from omegaconf import DictConfig

from attnflow.cli.checkpoints import named_checkpoint, run_folder, trusted
from attnflow.errors import AttnFlowError
from attnflow.models.checkpoint import KEY, is_averaged, load_model, read_checkpoint
from attnflow.models.conditioning import ClassConditioning
from attnflow.models.exported import CARD, WEIGHTS, import_hub, shortened, write_exported
from attnflow.models.groups import MODEL_GROUPS
from attnflow.models.loaded import LoadedModel
from attnflow.pictures.samples import class_labels, image_grid
from attnflow.pictures.sheet import save_picture
from attnflow.runs.names import HYDRA
from attnflow.runs.reading import read_mapping, read_overrides
from attnflow.runs.results import print_notes, read_results
from attnflow.utils.files import write_whole
from attnflow.version import __version__

__all__ = ["export"]

TEMPLATES = Environment(
    loader=PackageLoader("attnflow.cli"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
# Of a run's config, what a shared model is rebuilt from, and what is told of its training.
KEPT = (*MODEL_GROUPS, "data", "seed", "choices")
TOLD = ("model", "attention", "placement", "coupling", "data", "optimizer", "scheduler")
# Where a run is, and what it is called there, is nobody else's business.
PLACES = ("data_dir", "cache_dir", "path")
PICTURED = 64  # samples of the card
SHARED = (WEIGHTS, "config.json", CARD, "samples.png")
INTENDED = (
    "Research on exact likelihoods, and on what attention adds to generative flows. It was made "
    "and tested for nothing else."
)


def export(config: DictConfig) -> None:
    """Write a checkpoint's model as a folder, and upload that where ``push`` says so.

    Raises:
        AttnFlowError: no checkpoint, one that cannot be read, or a hub that cannot be reached.
    """
    if config.push is not None:
        check_hub_name(config.push)
    path = named_checkpoint(config)
    checkpoint = read_checkpoint(path)
    model = load_model(checkpoint, path, trusted(config.trust))
    held, folder = checkpoint[KEY], Path(config.paths.output_dir)
    shared = {key: held["config"][key] for key in KEPT if key in held["config"]}
    shared["data"] = without_places(shared["data"])
    run_dir = run_folder(path)
    description = {
        KEY: {**{k: held[k] for k in ("data_spec", "version")}, "config": shared},
        "global_step": checkpoint["global_step"],
        "averaged": is_averaged(checkpoint),
        "figures": figures_of(run_dir),
    }
    write_exported(folder, model.state_dict(), description)
    loaded = LoadedModel(model, shared["seed"], shared["choices"])
    samples = samples_of(loaded, config.seed)
    if samples is not None:
        save_picture(samples, folder / "samples.png")
    card = TEMPLATES.get_template("model_card.md.j2")
    write_whole(folder / CARD, card.render(contents(config, loaded, description, run_dir, folder)))
    print_notes({"model": folder, "card": folder / CARD})
    if config.push is not None:
        print_notes({"pushed": push(config.push, folder, config.private)})


def is_place(name: str, value: str) -> bool:
    """Whether an option of a data set tells where files are, and no name of a hub."""
    return name in PLACES and bool(value) and (name != "path" or os.path.isabs(value))


def without_places(data: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a data set, of folders the last name alone."""
    return {
        name: Path(value).name if is_place(name, value) else value for name, value in data.items()
    }


def figures_of(run_dir: Path) -> dict[str, float]:
    """The numbers in a run's results.json, or in an exported model's config; none without."""
    try:
        if (run_dir / "results.json").is_file():
            held = read_results(run_dir)
        else:
            held = read_mapping(run_dir / "config.json").get("figures")
    except AttnFlowError:
        return {}
    if not isinstance(held, Mapping):
        return {}
    kinds = ("val/", "test/", "data/")
    return {
        name: value
        for name, value in held.items()
        if name.startswith(kinds) and isinstance(value, int | float)
    }


def samples_of(model: LoadedModel, seed: int) -> Figure | None:
    """A grid of samples, of a class model a row a class; None where they need condition images."""
    conditioning = model.model.conditioning
    if conditioning is None:
        return image_grid(model.sample(PICTURED, seed=seed), model.num_bins, "Samples")
    if isinstance(conditioning, ClassConditioning):
        labels = torch.arange(min(conditioning.num_classes, 10)).repeat_interleave(8)
        images = model.sample(len(labels), labels, seed=seed)
        return image_grid(images, model.num_bins, "Samples", class_labels({"label": labels}))
    return None


def contents(
    config: DictConfig,
    model: LoadedModel,
    description: Mapping[str, Any],
    run_dir: Path,
    folder: Path,
) -> dict[str, Any]:
    """What the card's template asks for."""
    held = description[KEY]["config"]
    data = {name: value for name, value in held["data"].items() if not name.startswith("_")}
    conditioning = model.model.conditioning
    classes = conditioning.num_classes if isinstance(conditioning, ClassConditioning) else 0
    choices = held["choices"]
    return {
        "title": config.title or f"attnflow on {choices.get('data', 'images')}",
        "license": config.license,
        "version": __version__,
        "params": sum(parameter.numel() for parameter in model.parameters()),
        "shape": " x ".join(map(str, model.image_shape)),
        "num_bins": model.num_bins,
        "classes": classes,
        "pictured": (folder / "samples.png").exists(),
        "place": f"hf://{config.push}" if config.push else folder.name,
        "figures": list(rows_of(description["figures"])),
        "metric_note": "dequantized images" if model.model.metric == "bpd" else "noisy images",
        "step": description["global_step"],
        "averaged": description["averaged"],
        "choices": [(name, choices[name]) for name in TOLD if name in choices],
        "command": command_of(run_dir),
        "data_target": held["data"].get("_target_", "a data module"),
        "data_options": yaml.safe_dump(data, sort_keys=False).strip(),
        "environment": environment_of(run_dir),
        "intended_use": config.intended_use or INTENDED,
    }


def rows_of(figures: Mapping[str, float]) -> Iterator[tuple[str, str, str]]:
    """Figures with their standard errors, which are figures too."""
    for name, value in figures.items():
        if name.endswith(("_std_err", "/step")):
            continue
        error = figures.get(f"{name}_std_err")
        yield name, f"{value:.4g}", "" if error is None else f"{error:.2g}"


def command_of(run_dir: Path) -> str:
    """The command that made a run, without where it wrote to; "" where nothing tells it."""
    try:
        overrides = read_overrides(run_dir / HYDRA / "overrides.yaml")
    except AttnFlowError:
        return ""
    places = (
        "hydra.",
        "paths.",
        "data.data_dir",
        "data.cache_dir",
        "logger",
        "resume",
        "overwrite",
    )
    kept = [shlex.quote(each) for each in overrides if not each.lstrip("+~").startswith(places)]
    return " ".join(["attnflow train", *kept])


def environment_of(run_dir: Path) -> str:
    """The versions that a run was made with, in words; "" where nothing tells them."""
    try:
        versions = read_mapping(run_dir / "environment.json")
    except AttnFlowError:
        return ""
    return ", ".join(f"{name} {version}" for name, version in versions.items() if version)


def check_hub_name(name: object) -> None:
    """Raise :class:`AttnFlowError` unless this may be a model's name in the hub."""
    if not isinstance(name, str) or name.count("/") != 1:
        raise AttnFlowError(f"push: expected user/name, got {name!r}.")
    import_hub()


def push(name: str, folder: Path, private: bool) -> str:
    """Upload an exported folder; returns where it is.

    Raises:
        AttnFlowError: the hub cannot be reached, or refuses.
    """
    try:
        api = import_hub().HfApi()
        api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, allow_patterns=list(SHARED))
    except AttnFlowError:
        raise
    except Exception as error:  # of the network, the library lets many kinds through
        raise AttnFlowError(
            f"push: expected the Hugging Face Hub to take {name}, got {shortened(error)}; the "
            f"folder {folder} is written."
        ) from error
    return f"hf://{name}"
