"""Images drawn from a trained model and written to files."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from lightning import LightningModule
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from attnflow.cli.checkpoints import named_checkpoint, trusted
from attnflow.cli.conditions import check_taken
from attnflow.cli.containers import as_dict
from attnflow.cli.image_store import FORMATS, ImageStore, image_store
from attnflow.data.given import GivenImages, given_images
from attnflow.errors import AttnFlowError, check_choice, check_count
from attnflow.flows.base import Shape
from attnflow.flows.inputs import as_labels, check_temperature
from attnflow.metrics.images import cut_padding
from attnflow.models.conditioning import ClassConditioning, ImageConditioning
from attnflow.models.loaded import LoadedModel, load
from attnflow.pictures.samples import class_labels, image_grid
from attnflow.pictures.sheet import save_picture
from attnflow.runs.reading import read_json
from attnflow.runs.results import print_notes
from attnflow.utils.arguments import check_seed
from attnflow.utils.files import write_whole
from attnflow.utils.making import make
from attnflow.utils.quiet import quiet_warnings
from attnflow.utils.validation import as_path
from attnflow.version import __version__

__all__ = ["sample"]

log = logging.getLogger(__name__)

RECORD = "sampling.json"
PICTURED = 64  # images of the grid
PRECISIONS = {32: torch.float32, 64: torch.float64}
# Options that the images depend on.
OPTIONS = ("n", "format", "seed", "temperature", "label", "condition", "guidance", "precision")


def sample(config: DictConfig) -> None:
    """Draw ``n`` images of a checkpoint's model, on every rank a share of them.

    Writes the images, ``sampling.json``, which says what made them, and ``grid.png``. What an
    earlier start with the same options has written stays.

    Raises:
        AttnFlowError: an option of another kind, or one that this model does not have; other
            options than those of the images that are to be gone on with.
    """
    check_options_of(config)
    path = named_checkpoint(config)
    model = load(path, trusted(config.trust)).to(PRECISIONS[config.precision])
    model.model.guided(None, config.guidance)  # raises where it can not be
    folder = Path(config.paths.output_dir)
    shape = model.model.unpadded_shape or model.image_shape
    store = image_store(config.format, folder, config.n, shape, model.num_bins)
    drawing = Drawing(model, store, conditions_of(config, model), config, path)
    with quiet_warnings():
        trainer = make(config.trainer, "trainer", logger=False, enable_checkpointing=False)
        trainer.predict(drawing, return_predictions=False)
    if trainer.is_global_zero:
        print_notes({"images": store.path, "grid": drawing.finish()})


def check_options_of(config: DictConfig) -> None:
    """Raise :class:`AttnFlowError` for options that mean nothing, before a model is read."""
    check_count("n", config.n)
    check_count("batch_size", config.batch_size)
    check_seed(config.seed)
    check_choice("format", config.format, FORMATS)
    check_choice("precision", config.precision, tuple(PRECISIONS))
    check_choice("resume", config.resume, (None, "auto"))
    check_temperature(config.temperature)
    if config.resize and config.condition is None:
        raise AttnFlowError(
            "resize: expected false without condition, whose images it is for, got true."
        )


@dataclass(frozen=True)
class Conditions:
    """What each image is drawn under; numbers begin anew where there are more of them.

    Attributes:
        labels: int64, or None.
        images: or None.
    """

    labels: Tensor | None = None
    images: GivenImages | None = None

    def labels_of(self, numbers: Sequence[int]) -> Tensor | None:
        """The labels of the images of these numbers."""
        if self.labels is None:
            return None
        return self.labels[torch.tensor([number % len(self.labels) for number in numbers])]

    def images_of(self, numbers: Sequence[int]) -> Tensor | None:
        """The condition images of the images of these numbers."""
        if self.images is None:
            return None
        return torch.stack([self.images[number % len(self.images)] for number in numbers])


def conditions_of(config: DictConfig, model: LoadedModel) -> Conditions:
    """The labels or condition images that the options name.

    Raises:
        AttnFlowError: a label out of range, images that are none of the model's, or either of a
            model that does not take it.
    """
    conditioning = model.model.conditioning
    check_taken(config, ("label", "condition"), model.model)
    if isinstance(conditioning, ClassConditioning):
        given = as_dict(config)["label"]
        given = list(range(conditioning.num_classes)) if given is None else given
        rows = len(given) if isinstance(given, list) else 1
        return Conditions(labels=as_labels(given, rows, conditioning.num_classes))
    if isinstance(conditioning, ImageConditioning):
        if config.condition is None:
            raise AttnFlowError(
                "condition: expected a folder of images or an .npy file, which this model's "
                "images are drawn for, got null."
            )
        path, resize = as_path("condition", config.condition), config.resize
        images = given_images(
            "condition", path, cast(Shape, conditioning.shape), conditioning.num_bins, resize
        )
        return Conditions(images=images)
    return Conditions()


class Drawing(LightningModule):
    """Draws the images that are missing, a share on every rank.

    Args:
        model: of the checkpoint.
        store: that the images are written to.
        conditions: of the images.
        config: the command's.
        path: of the checkpoint.
    """

    def __init__(
        self,
        model: LoadedModel,
        store: ImageStore,
        conditions: Conditions,
        config: DictConfig,
        path: Path,
    ) -> None:
        super().__init__()
        self.model, self.store, self.conditions = model, store, conditions
        self.options, self.checkpoint = as_dict(config), path
        self.numbers: list[int] = []

    def setup(self, stage: str) -> None:
        """Let the first rank make room, and all agree on what is missing."""
        if self.trainer.is_global_zero:
            self.begin()
        self.trainer.strategy.barrier()
        self.numbers = self.store.missing()
        if self.trainer.is_global_zero and not self.numbers:
            log.info("all %s images are there already: none is drawn", self.store.n)
        self.trainer.strategy.barrier()

    def begin(self) -> None:
        """Note what is drawn, where nothing else has been."""
        path = self.store.folder / RECORD
        held = read_json(path) if path.exists() else None
        if held is None:
            write_whole(path, json.dumps(self.record(), indent=2) + "\n")
        elif different := [k for k, v in self.record().items() if k in OPTIONS and held[k] != v]:
            name = different[0]
            raise AttnFlowError(
                f"{name}: expected {held[name]}, as the images in {self.store.folder} have, got "
                f"{self.record()[name]}; overwrite=true puts them aside and begins anew."
            )
        self.store.open()

    def record(self) -> dict[str, Any]:
        """What makes the images."""
        return {
            "checkpoint": str(self.checkpoint),
            **{name: self.options[name] for name in OPTIONS},
            "image_shape": list(self.store.shape),
            "num_bins": self.store.num_bins,
            "attnflow": __version__,
            "torch": torch.__version__,
        }

    def predict_dataloader(self) -> DataLoader:
        """The numbers of this rank."""
        share = self.numbers[self.trainer.global_rank :: self.trainer.world_size]
        return DataLoader(
            cast(Dataset[int], share), batch_size=self.options["batch_size"], collate_fn=list
        )

    def predict_step(self, batch: list[int]) -> None:
        self.store.write(batch, cut_padding(self.draw(batch), self.store.shape))

    def draw(self, numbers: list[int]) -> Tensor:
        """The images of these numbers, in halves where the memory does not suffice."""
        options = self.options
        try:
            return self.model.numbered_samples(
                numbers,
                options["seed"],
                self.conditions.labels_of(numbers),
                self.conditions.images_of(numbers),
                temperature=options["temperature"],
                guidance=options["guidance"],
            )
        except torch.OutOfMemoryError:
            if len(numbers) == 1:
                raise
        half = len(numbers) // 2
        return torch.cat([self.draw(numbers[:half]), self.draw(numbers[half:])])

    def on_predict_end(self) -> None:
        """Wait until all ranks have drawn theirs."""
        self.trainer.strategy.barrier()

    def finish(self) -> Path:
        """Close the store, and draw a grid of its first images."""
        labels = self.conditions.labels_of(range(self.store.n))
        self.store.close(None if labels is None else labels.tolist())
        number = min(PICTURED, self.store.n)
        title = f"The first {number} of {self.store.n} samples"
        given = None if labels is None else {"label": labels[:number]}
        first = self.store.read(number)
        picture = image_grid(first, self.store.num_bins, title, class_labels(given))
        return save_picture(picture, self.store.folder / "grid.png")
