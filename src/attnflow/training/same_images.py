"""Whether a split holds the images that it held in the training of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attnflow.data.base import ImageDataModule
from attnflow.errors import AttnFlowError

__all__ = ["MarkedImages", "changed_test_images", "check_resumed_images", "held_images"]

# What a resumed training keeps of a split: its name in a sentence, and what was done with it.
KEPT = {"train": ("training", "trained with"), "val": ("validation", "validated on")}


@dataclass(frozen=True)
class MarkedImages:
    """The images of a split: their number, and the mark that they are known again by, or None."""

    images: int
    mark: str | None

    def differ(self, number: int, mark: str | None) -> bool:
        """Whether so many images of this mark are others; of two without marks, the number says."""
        return self.images != number or (None not in (self.mark, mark) and self.mark != mark)


def held_images(held: Mapping) -> dict[str, MarkedImages]:
    """What a checkpoint tells of the splits of its training; less, where it is an older one's.

    Args:
        held: under the checkpoint's key of attnflow.
    """
    told = {split: MarkedImages(**entry) for split, entry in (held.get("splits") or {}).items()}
    if "train" not in told and "train_images" in held:
        told["train"] = MarkedImages(held["train_images"], None)
    return told


def check_resumed_images(held: Mapping, data: ImageDataModule, path: object) -> None:
    """Refuse other images than a training had: their order, or the best score, would mean nothing.

    Args:
        held: under the checkpoint's key of attnflow.
        data: of the training that goes on.
        path: of the checkpoint.

    Raises:
        AttnFlowError: the training or the validation split holds others.
    """
    told = held_images(held)
    for split, (name, done) in KEPT.items():
        if split not in told:
            continue
        before, now = told[split].images, len(data.dataset(split))
        if told[split].differ(now, data.mark(split)):
            others = f"{now} that are not the same ones" if now == before else now
            raise AttnFlowError(
                f"the {name} split: expected the {before} images that the checkpoint {path} was "
                f"{done}, got {others}; init_from=PATH starts a new training from its weights."
            )


def changed_test_images(held: Mapping, data: ImageDataModule, path: object) -> str | None:
    """What there is to say of test images that are not those of a checkpoint's training, or None.

    Args:
        held: under the checkpoint's key of attnflow.
        data: of the checkpoint, whose test images are read.
        path: of the checkpoint.

    Raises:
        AttnFlowError: the training images are others too, so that it may have been trained on
            some that are to test it.
    """
    told, now = held_images(held), len(data.dataset("test"))
    if "test" in told and not told["test"].differ(now, data.mark("test")):
        return None
    if "train" in told and told["train"].mark is not None:
        check_never_trained_on(told, data, path)
    if "test" not in told:
        return None
    return (
        f"the test split: the training of {path} kept {told['test'].images} images for its test, "
        f"these {now} are not the same ones; the figures are not to be compared with its own."
    )


def check_never_trained_on(
    told: Mapping[str, MarkedImages], data: ImageDataModule, path: object
) -> None:
    """Raise :class:`AttnFlowError` where the training images are not those of a checkpoint."""
    try:
        mark = data.mark("train")
    except AttnFlowError:  # none are left to compare
        mark = ""
    if mark is None or mark == told["train"].mark:
        return
    kept = f"the {told['test'].images} test" if "test" in told else "test"
    raise AttnFlowError(
        f"the test split: expected {kept} images of the data that the checkpoint {path} was "
        f"trained on, got {len(data.dataset('test'))} of data whose training images have changed "
        f"since, so that it may have been trained on some of them; {way_on(data)} has it tested on "
        "them all the same."
    )


def way_on(data: ImageDataModule) -> str:
    """The option that names the images of an evaluation, whatever they are."""
    for name, option in (("data_dir", "data.data_dir=PATH"), ("path", "+data.path=PATH")):
        if name in data.settled:
            return option
    return "data=NAME"
