"""The changes that a resumed training's config makes: each is honoured or refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from attnflow.errors import AttnFlowError
from attnflow.models.build import with_references
from attnflow.models.groups import MODEL_GROUPS
from attnflow.training.progress import Progress

__all__ = ["Difference", "check_honoured", "differences", "table"]

# How a run is started and called, and where it lies.
NO_PART_OF_A_RUN = (
    "choices",
    "init_from",
    "init_strict",
    "overwrite",
    "paths",
    "resume",
    "task_name",
)
# Options of refused groups that may change, as they change neither what the weights mean nor which
# images they are trained on. Of another folder the images' names and sizes are compared.
HONOURED = (
    "model.memory",
    "conditioning.guidance",
    "conditioning.guidance_ramp",
    "dequantization.denoise",
    "data.augment",
    "data.cache_dir",
    "data.check_images",
    "data.data_dir",
    "data.download",
    "data.global_batch_size",
    "data.in_memory",
    "data.num_workers",
    "data.path",
    "data.streaming",
)
# Options for which an optimizer keeps further averages, absent from the checkpoint.
NEW_STATE = ("amsgrad", "centered", "momentum")
# Options of a batch's size and an epoch's length, on which the count of batches depends.
BETWEEN_EPOCHS = (
    "data.global_batch_size",
    "trainer.accumulate_grad_batches",
    "trainer.limit_train_batches",
    "trainer.overfit_batches",
)


@dataclass(frozen=True)
class Difference:
    """An option whose value is another than in the checkpoint's config; None for no value."""

    key: str
    before: Any
    now: Any

    @property
    def group(self) -> str:
        """The config group that the option is of."""
        return self.key.partition(".")[0]


def differences(before: Mapping, now: Mapping) -> list[Difference]:
    """The options in which two composed configs differ, in plain values.

    Two classes in the same place make one difference, whatever their options, and a part of the
    model one, under its own group. Paths below the runs' own folders do not differ.
    """
    before, now = (_without_folder(with_references(config)) for config in (before, now))
    return list(_compared("", before, now))


def check_honoured(found: list[Difference], progress: Progress, path: object) -> None:
    """Raise :class:`AttnFlowError` for the first difference that resuming can't honour.

    Args:
        found: of the checkpoint's config and this run's.
        progress: of the checkpoint.
        path: of the checkpoint.
    """
    for difference in found:
        reason = _refusal(difference, progress)
        if reason:
            raise AttnFlowError(
                f"{difference.key}: expected {told(difference.before)} as in the checkpoint "
                f"{path}, got {told(difference.now)}; {reason}."
            )


def table(found: list[Difference]) -> str:
    """One line a difference: option, value in the checkpoint, value from the next step on."""
    rows = [(d.key, told(d.before), told(d.now)) for d in found]
    key_width, before_width = (max(len(row[n]) for row in rows) for n in (0, 1))
    return "\n".join(
        f"  {key:<{key_width}}  {before:>{before_width}} -> {now}" for key, before, now in rows
    )


def told(value: object) -> str:
    """A config's value in a few words; of a class its name."""
    if isinstance(value, Mapping) and "_target_" in value:
        return str(value["_target_"]).rpartition(".")[2]
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _refusal(difference: Difference, progress: Progress) -> str | None:
    """Why a difference can't be honoured; None where it can."""
    key, group = difference.key, difference.group
    if key in BETWEEN_EPOCHS and progress.batches:
        return (
            f"it lies {progress.batches} batches within an epoch, which is gone on with as it "
            "began; a checkpoint of an epoch's end can be resumed so"
        )
    if key == "trainer.limit_val_batches":
        return "the best score so far is of the images that were validated on before"
    if key == "trainer.fast_dev_run" and difference.now:
        return "a trial of a few batches goes on with nothing"
    if key in HONOURED or key.endswith(".dropout"):
        return None
    if group in MODEL_GROUPS:
        return _start_anew("a resumed training keeps its architecture")
    if group == "data":
        return _start_anew("a resumed training keeps its data")
    if group == "seed":
        return _start_anew("a resumed training keeps its order of data and its noise")
    if key == "optimizer" or (group == "optimizer" and key.rpartition(".")[2] in NEW_STATE):
        return _start_anew("one optimizer can't go on with another's state")
    return None


def _start_anew(reason: str) -> str:
    return (
        f"{reason}, whose options are given again beside resume; init_from=PATH starts a new one "
        "from its weights"
    )


def _compared(key: str, before: Any, now: Any) -> Iterator[Difference]:
    if key in NO_PART_OF_A_RUN or _same(before, now):
        return
    both = isinstance(before, Mapping) and isinstance(now, Mapping)
    if not both or before.get("_target_") != now.get("_target_"):
        yield Difference(key, before, now)
        return
    for name in dict.fromkeys((*before, *now)):
        inner = f"{key}.{name}" if key else str(name)
        yield from _compared(inner, before.get(name), now.get(name))


def _same(before: Any, now: Any) -> bool:
    """Whether two values are equal and of one type: 1.0 is a whole epoch, 1 is one batch."""
    if isinstance(before, list) and isinstance(now, list):
        return len(before) == len(now) and all(map(_same, before, now))
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return before.keys() == now.keys() and all(_same(before[n], now[n]) for n in before)
    return type(before) is type(now) and before == now


def _without_folder(config: Mapping) -> Mapping:
    """The config with its run's folder taken out of all paths."""
    folder = (config.get("paths") or {}).get("output_dir")
    return _replaced(config, folder) if folder else config


def _replaced(value: Any, folder: str) -> Any:
    if isinstance(value, Mapping):
        return {name: _replaced(entry, folder) for name, entry in value.items()}
    if isinstance(value, list):
        return [_replaced(entry, folder) for entry in value]
    return value.replace(folder, "") if isinstance(value, str) else value
