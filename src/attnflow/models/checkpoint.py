"""Self-contained checkpoints: the model is rebuilt from the file alone."""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor, nn

from attnflow.errors import AttnFlowError
from attnflow.models.allowance import Allowance
from attnflow.models.build import build_model
from attnflow.models.contents import check_description, check_state, check_weights
from attnflow.models.exported import HUB, WEIGHTS, from_hub, read_exported
from attnflow.models.image_model import ImageModel
from attnflow.models.trust import check_current, check_trusted
from attnflow.spec import DataSpec
from attnflow.utils.sentences import named
from attnflow.version import __version__

__all__ = [
    "check_same_architecture",
    "describe",
    "find_best",
    "is_averaged",
    "load_model",
    "misfits",
    "model_state",
    "read_checkpoint",
]

# Under this key a checkpoint holds its config, its data's spec and the version; under the
# second prefix, the LightningModule's state_dict holds the model.
KEY = "attnflow"
MODEL_PREFIX = "model."
# Limits on building a model, for each value and tensor of its weights, and for tables.
VALUES_A_VALUE, TENSORS_A_TENSOR = 16, 50
SPARE_VALUES, SPARE_TENSORS = 2**24, 1000
# What a pickle of plain values and tensors asks for, which torch reads without running code.
HARMLESS = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|__builtin__\.(set|complex|bytearray)"
    r"|torch(\.(cuda|sparse|storage))?\.\w*(Storage|Tensor)|torch\.(Size|device|bool)"
    r"|torch\.[a-z]*(complex|float|int|bits)\d\w*"
    r"|torch\.(_utils|_tensor)\._rebuild_\w+|torch\.nn\.parameter\.Parameter"
)


def find_best(path: str | Path) -> Path:
    """The checkpoint that a path means, or the weights of an exported model.

    A file is meant itself, a run's folder by its best checkpoint, an exported model by its folder
    or its name in the Hugging Face Hub (``hf://user/name``), which downloads it.

    Raises:
        AttnFlowError: there is none.
    """
    if str(path).startswith(HUB):
        path = from_hub(str(path))
    path = Path(path)
    for found in (path, path / "checkpoints" / "best.ckpt", path / WEIGHTS):
        try:
            if found.is_file():
                return found
        except OSError as error:
            raise AttnFlowError(
                f"checkpoint {path!s:.60}: expected the path of a file or a folder, got one "
                f"that the system refuses ({error.strerror})."
            ) from error
    state = (
        f"a folder without checkpoints/best.ckpt and without {WEIGHTS}"
        if path.is_dir()
        else "a path that does not exist"
    )
    raise AttnFlowError(
        f"checkpoint {path}: expected a .ckpt file, a run's folder or an exported model's, got "
        f"{state}."
    )


def load_model(checkpoint: Mapping, path: str | Path, trust: Sequence[str] = ()) -> ImageModel:
    """The whole model of a checkpoint (flow, dequantizer, conditioning), in eval mode.

    Args:
        checkpoint: what :func:`read_checkpoint` gave.
        path: of its file, for messages.
        trust: what its config may name beside this package's own classes
            (:func:`attnflow.models.trust.check_trusted`).

    Raises:
        AttnFlowError: a config that names what is not trusted, makes no model, or does not fit the
            weights; weights that are of another type, not finite, or of no flow.
    """
    held = checkpoint[KEY]
    check_trusted(held["config"], f"checkpoint {path}", trust)
    state = model_state(checkpoint)
    values = VALUES_A_VALUE * sum(value.numel() for value in state.values()) + SPARE_VALUES
    tensors = TENSORS_A_TENSOR * len(state) + SPARE_TENSORS
    source = f"checkpoint {path}"
    with named(source), Allowance(values, tensors, source):
        model = build_model(held["config"], DataSpec.from_dict(held["data_spec"]))
    check_same_architecture(model, state, path)
    check_weights(model.state_dict(), state, path)
    with named(source):
        model.load_state_dict(state)
    return model.eval()


def model_state(checkpoint: Mapping) -> dict[str, Tensor]:
    """The model's weights: the averaged ones, where training averaged them.

    Lightning's weight averaging writes the average as ``state_dict`` and keeps the weights
    that training goes on from under another key.
    """
    return {
        name.removeprefix(MODEL_PREFIX): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(MODEL_PREFIX)
    }


def is_averaged(checkpoint: Mapping) -> bool:
    """Whether :func:`model_state` is the averaged (EMA) weights; else it is the plain ones."""
    return "averaging_state" in checkpoint


def read_checkpoint(path: str | Path) -> dict:
    """A checkpoint's contents, on the CPU; no code in the file is run.

    Raises:
        AttnFlowError: the file is missing, truncated, or not one of ours.
    """
    path = Path(path)
    if not path.is_file():
        state = "a folder" if path.is_dir() else "a path that does not exist"
        raise AttnFlowError(f"checkpoint {path}: expected a .ckpt file, got {state}.")
    try:
        if path.suffix == Path(WEIGHTS).suffix:
            return exported_checkpoint(path)
        check_archive(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except AttnFlowError:
        raise
    except Exception as error:  # of what is no checkpoint, its reader can raise anything
        name = name_of_code(path)
        if name:
            raise AttnFlowError(
                f"checkpoint {path}: expected weights and plain values, as train.py writes them, "
                f"got {name}, which is not called."
            ) from error
        # Only the first sentence is told: torch goes on to advise reading the file unsafely.
        reason = str(error).strip().split("\n")[0].split(". ")[0] or type(error).__name__
        raise AttnFlowError(
            f"checkpoint {path}: expected a file of torch.save, got one that is truncated, damaged "
            f"or no checkpoint ({reason})."
        ) from error
    if not isinstance(checkpoint, dict) or KEY not in checkpoint or "state_dict" not in checkpoint:
        raise AttnFlowError(
            f"checkpoint {path}: expected one that train.py wrote, got one without {KEY!r} or "
            "without 'state_dict'."
        )
    check_contents(checkpoint, path)
    return checkpoint


def exported_checkpoint(path: Path) -> dict:
    """What a checkpoint would hold, of an exported model, given its weights' path."""
    weights, description = read_exported(path)
    checkpoint = {
        "state_dict": {f"{MODEL_PREFIX}{name}": value for name, value in weights.items()},
        KEY: description.get(KEY),
        "global_step": description.get("global_step"),
    }
    if description.get("averaged"):
        checkpoint["averaging_state"] = None
    check_contents(checkpoint, path)
    return checkpoint


def check_archive(path: Path) -> None:
    """Raise :class:`AttnFlowError` for an archive that is damaged, or holds more than its own size.

    Training writes no compressed archive, and none in which parts of the file are used twice.
    torch writes the checksum of each part, but does not compare it.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        held = sum(part.file_size for part in archive.infolist())
        if held > path.stat().st_size:
            raise AttnFlowError(
                f"checkpoint {path}: expected an archive that is not compressed, got one that "
                f"would unpack to {held} bytes from {path.stat().st_size}."
            )
        damaged = archive.testzip()
    if damaged is not None:
        raise AttnFlowError(
            f"checkpoint {path}: expected the bytes that torch.save wrote, got a file that is "
            f"damaged (the checksum of {damaged!r:.60} is another)."
        )


def name_of_code(path: Path) -> str | None:
    """The first function or class that a pickle asks for and that is no part of plain values."""
    try:
        content = path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                content = archive.read(next(n for n in names if n.endswith("data.pkl")))
        return next((name for name in names_in(content) if not HARMLESS.fullmatch(name)), None)
    except Exception:  # of what is no pickle, its reader can raise anything
        return None


def names_in(content: bytes) -> Iterator[str]:
    """The functions and classes that one pickle after another asks for."""
    opened, texts = BytesIO(content), []
    while opened.tell() < len(content):
        for operation, value, _ in pickletools.genops(opened):
            if operation.name in ("GLOBAL", "STACK_GLOBAL"):
                yield (value or " ".join(texts[-2:])).replace(" ", ".")
            elif isinstance(value, str):
                texts.append(value)


def check_contents(checkpoint: Mapping, path: Path) -> None:
    """Raise :class:`AttnFlowError` where an entry that rebuilds the model has a wrong type."""
    held = checkpoint[KEY]
    check_description(held, KEY, path)
    check_current(held["config"], held.get("version"), f"checkpoint {path}")
    check_state(checkpoint["state_dict"], path)
    step = checkpoint.get("global_step")
    if type(step) is not int or not 0 <= step < 2**63:
        raise AttnFlowError(
            f"checkpoint {path}: expected a number of steps as global_step, got {step!r:.60}."
        )


def describe(config: Mapping, spec: DataSpec) -> dict[str, object]:
    """Return what training adds to a checkpoint, in plain values, to make it self-contained.

    The whole config is kept: a model is rebuilt from the groups of its architecture and of its
    data, and a resumed training says what else has changed.
    """
    return {"config": dict(config), "data_spec": spec.as_dict(), "version": __version__}


def check_same_architecture(model: nn.Module, state: Mapping[str, Tensor], path: object) -> None:
    """Raise :class:`AttnFlowError`, naming the first misfit, where ``state`` is not ``model``'s."""
    for name, (ours, theirs) in misfits(model.state_dict(), state).items():
        raise AttnFlowError(
            f"checkpoint {path}: expected {name} of shape {ours}, as in this model, got {theirs}, "
            "so it is of another architecture."
        )


def misfits(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, tuple[str, str]]:
    """The weights that one side lacks or has in another shape: (here, there) by name."""

    def shape(state: Mapping[str, Tensor], name: str) -> str:
        return str(tuple(state[name].shape)) if name in state else "absent"

    names = sorted(own.keys() | given.keys())
    shapes = {name: (shape(own, name), shape(given, name)) for name in names}
    return {name: pair for name, pair in shapes.items() if pair[0] != pair[1]}
