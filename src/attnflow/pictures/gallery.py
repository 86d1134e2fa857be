"""The pictures of an evaluation, by name."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from matplotlib.figure import Figure
from omegaconf import DictConfig, ListConfig
from torch import Tensor

from attnflow.data.base import ImageDataModule
from attnflow.data.samples import Samples
from attnflow.data.training_images import training_images
from attnflow.errors import AttnFlowError, check_choice, check_least
from attnflow.models.conditioning import ImageConditioning
from attnflow.models.image_model import Batch, ImageModel
from attnflow.pictures.attention import MOST_COLUMNS, attention_picture
from attnflow.pictures.conditions import chosen_conditions
from attnflow.pictures.curves import curves_picture
from attnflow.pictures.levels import levels_picture
from attnflow.pictures.neighbours import Neighbours, nearest_neighbours, neighbours_picture
from attnflow.pictures.samples import (
    class_labels,
    condition_rows,
    image_grid,
    interpolation,
    spread_batch,
    temperature_rows,
    transfer,
)
from attnflow.pictures.sheet import check_formats, save_picture
from attnflow.utils.decoration import decoration
from attnflow.utils.validation import check_value

__all__ = ["PICTURES", "Evaluated", "check_options", "draw"]

log = logging.getLogger(__name__)

COLUMNS = 8
# Least values of numeric options; diversity needs two samples of a condition.
LEAST = {
    "importance_samples": 1,
    "num_searched": 1,
    "num_sound": 1,
    "num_samples": 1,
    "num_conditions": 1,
    "samples_per_condition": 2,
    "num_interpolations": 0,
}


@dataclass(frozen=True)
class Evaluated:
    """The model, data and options that pictures are drawn from.

    Attributes:
        model: in eval mode.
        datamodule: the data of its training.
        options: ``eval`` of conf/eval.yaml.
        run_dir: of its training, whose logs are read if they are there.
    """

    model: ImageModel
    datamodule: ImageDataModule
    options: DictConfig
    run_dir: Path

    @property
    def test_images(self) -> Samples:
        """The test split."""
        return self.datamodule.dataset("test")

    def batch(self, n: int) -> Batch:
        """Up to ``n`` test images, where the model is."""
        return spread_batch(self.test_images, n, next(self.model.parameters()).device)

    @cached_property
    def chosen(self) -> tuple[int, Batch | None]:
        """How many samples there are, and what they are conditioned on."""
        return chosen_conditions(self.model, self.test_images, self.options.num_samples)

    @property
    def conditions(self) -> Batch | None:
        """What the samples are conditioned on."""
        return self.chosen[1]

    @cached_property
    def samples(self) -> Tensor:
        """Integer images, (N, C, H, W)."""
        return self.model.sample(*self.chosen)

    @cached_property
    def neighbours(self) -> tuple[Neighbours, Neighbours] | None:
        """The training images nearest to the samples, and to as many test images, if there are."""
        searched = training_images(self.datamodule, "the picture of nearest neighbours")
        if searched is None:
            return None
        of_samples, of_test_images = (
            nearest_neighbours(images, searched, self.model.num_bins, self.options.num_searched)
            for images in (self.samples, self.batch(len(self.samples))["image"])
        )
        return of_samples, of_test_images

    @property
    def figures(self) -> dict[str, float]:
        """The figures that belong to the chosen pictures."""
        if "neighbours" not in self.options.pictures or self.neighbours is None:
            return {}
        samples, real = self.neighbours
        return {
            "test/nearest_neighbour_distance": samples.mean_distance,
            "test/nearest_neighbour_distance_real": real.mean_distance,
        }


def draw_samples(subject: Evaluated) -> Figure:
    """A grid of samples; of a class model a row a class."""
    images, conditions = subject.samples, subject.conditions
    title = f"{len(images)} samples"
    return image_grid(images, subject.model.num_bins, title, class_labels(conditions))


def draw_temperatures(subject: Evaluated) -> Figure | None:
    """A row a temperature; an image model has it in its picture of conditions."""
    model = subject.model
    if isinstance(model.conditioning, ImageConditioning) or not subject.options.temperatures:
        return None
    return temperature_rows(model, tuple(subject.options.temperatures))


def draw_interpolation(subject: Evaluated) -> Figure | None:
    """Interpolations between pairs of test images, for an unconditional model."""
    rows = min(subject.options.num_interpolations, len(subject.test_images) // 2)
    if subject.model.conditioning is not None or rows < 1:
        return None
    images = subject.batch(2 * rows)["image"]
    steps = interpolation(subject.model, images[::2], images[1::2], COLUMNS)
    title = "Between pairs of test images, in equal steps along the great circle of their latents"
    heads = ["real", *[""] * (COLUMNS - 2), "real"]
    return image_grid(steps, subject.model.num_bins, title, columns=COLUMNS, heads=heads)


def draw_levels(subject: Evaluated) -> Figure:
    """The content of each level's latent."""
    return levels_picture(subject.model, subject.batch(3))


def draw_neighbours(subject: Evaluated) -> Figure | None:
    """Samples above their nearest training images, if there are such."""
    if subject.neighbours is None:
        return None
    return neighbours_picture(*subject.neighbours, subject.model.num_bins)


def draw_attention(subject: Evaluated) -> Figure | None:
    """Attention maps over test images."""
    return attention_picture(subject.model, subject.batch(MOST_COLUMNS))


def draw_curves(subject: Evaluated) -> Figure | None:
    """Bits/dim by step, beside the entropy of integer images where these are what is measured."""
    metric = subject.model.metric
    entropy = subject.datamodule.entropy if metric == "bpd" else None
    return curves_picture(subject.run_dir, entropy, metric)


def draw_conditions(subject: Evaluated) -> Figure | None:
    """Condition, samples by temperature, truth, of an image model."""
    if not isinstance(subject.model.conditioning, ImageConditioning):
        return None
    return condition_rows(subject.model, subject.batch(8), tuple(subject.options.temperatures))


def draw_transfer(subject: Evaluated) -> Figure | None:
    """Each image's latents under the others' conditions, of a conditional model."""
    if subject.model.conditioning is None:
        return None
    batch = subject.batch(8)
    title = (
        "The latents of each image (a row) under the condition of each (a column); "
        "real images on the diagonal"
    )
    count, heads = len(batch["image"]), []
    if "label" in batch:
        heads = [f"as {int(label)}" for label in batch["label"]]
    images = transfer(subject.model, batch)
    return image_grid(images, subject.model.num_bins, title, columns=count, heads=heads)


# Each takes what was evaluated to a picture, or to None where it does not fit.
PICTURES: dict[str, Callable[[Evaluated], Figure | None]] = {
    "samples": draw_samples,
    "temperatures": draw_temperatures,
    "interpolation": draw_interpolation,
    "levels": draw_levels,
    "neighbours": draw_neighbours,
    "attention": draw_attention,
    "curves": draw_curves,
    "conditions": draw_conditions,
    "transfer": draw_transfer,
}


def check_options(options: DictConfig) -> None:
    """Raise :class:`AttnFlowError` for unknown pictures and for numbers that draw nothing."""
    if not isinstance(options, DictConfig):
        raise AttnFlowError(f"eval: expected the options of conf/eval.yaml, got {options!r}.")
    for name in ("pictures", "formats", "temperatures"):
        if not isinstance(options[name], ListConfig):
            raise AttnFlowError(
                f"eval.{name}: expected a list, [] for none, got {options[name]!r}."
            )
    for name in options.pictures:
        check_choice("a picture of eval.pictures", name, PICTURES)
    check_formats("eval.formats", options.formats)
    for name, least in LEAST.items():
        check_value(f"eval.{name}", options[name], int)
        check_least(f"eval.{name}", options[name], least)
    if options.guidance is not None:
        check_value("eval.guidance", options.guidance, float)
    for temperature in options.temperatures:
        check_value("a temperature of eval.temperatures", temperature, float)
        check_least("a temperature of eval.temperatures", temperature, 0)


def draw(subject: Evaluated, folder: Path) -> dict[str, Figure]:
    """Draw the pictures that ``eval.pictures`` names and that fit the model, by name; writes files.

    One that fails is left out, with a warning.
    """
    drawn, left_out = {}, []
    for name in subject.options.pictures:
        with decoration(f"picture {name}"):
            picture = PICTURES[name](subject)
            if picture is None:
                left_out.append(name)
            else:
                save_picture(picture, folder / f"{name}.png", subject.options.formats)
                drawn[name] = picture
    if left_out:
        log.info("pictures that do not fit this model or its run: %s", ", ".join(left_out))
    return drawn
