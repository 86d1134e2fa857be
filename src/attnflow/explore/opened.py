"""Models that are open: loaded when they are first asked for, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attnflow.data.base import ImageDataModule
from attnflow.data.samples import Samples
from attnflow.errors import AttnFlowError, check_choice
from attnflow.metrics.images import batches, fetch, spread
from attnflow.metrics.scores import Scores, score_images
from attnflow.models.checkpoint import KEY, load_model, read_checkpoint
from attnflow.models.conditioning import ClassConditioning, ImageConditioning
from attnflow.models.image_model import Batch, ImageModel
from attnflow.models.loaded import LoadedModel
from attnflow.spec import DataSpec
from attnflow.utils.noise import NO_EPOCH, sample_keys, uniform_noise
from attnflow.utils.sentences import named

__all__ = ["Opened", "ReadData", "Shelf"]

# From the data group of a checkpoint's config and its spec, in plain values, to the data.
ReadData = Callable[[Mapping[str, Any], Mapping[str, Any]], ImageDataModule]

BATCH = 64  # images that are scored at a time


class Opened:
    """A trained model, with what is known of it and, where they are here, its test images.

    Args:
        name: that it is chosen by.
        loaded: the model.
        held: its checkpoint's own description.
        steps: of its training.
        read_data: makes its data.
        most: test images that it scores at most.
    """

    def __init__(
        self,
        name: str,
        loaded: LoadedModel,
        held: Mapping[str, Any],
        steps: int,
        read_data: ReadData,
        most: int,
    ) -> None:
        self.name, self.loaded, self.held, self.steps = name, loaded, held, steps
        self.read_data, self.most = read_data, most
        self.spec = DataSpec.from_dict(held["data_spec"])

    @property
    def model(self) -> ImageModel:
        """Flow, dequantization and conditioning, in eval mode."""
        return self.loaded.model

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image without padding."""
        return self.model.unpadded_shape or self.model.image_shape

    @property
    def num_classes(self) -> int:
        """Of a model of classes; 0 of any other."""
        conditioning = self.model.conditioning
        return conditioning.num_classes if isinstance(conditioning, ClassConditioning) else 0

    @property
    def condition(self) -> ImageConditioning | None:
        """The conditioning of an image-to-image model; None of any other."""
        conditioning = self.model.conditioning
        return conditioning if isinstance(conditioning, ImageConditioning) else None

    @property
    def takes_guidance(self) -> bool:
        """Whether its samples can be guided: it was trained with condition dropout."""
        conditioning = self.model.conditioning
        return conditioning is not None and conditioning.nothing is not None

    @cached_property
    def tests(self) -> Samples:
        """The test images of its data.

        Raises:
            AttnFlowError: they are not here.
        """
        with named(f"the test images of {self.name}"):
            return self.read_data(self.held["config"]["data"], self.held["data_spec"]).dataset(
                "test"
            )

    @cached_property
    def test_scores(self) -> Scores:
        """The scores of its test images, or of some at equal distances.

        Raises:
            AttnFlowError: they are not here, or the model has no bits/dim.
        """
        parts = []
        for rows in batches(spread(len(self.tests), self.most), BATCH):
            batch = fetch(self.tests, rows) | {"index": torch.tensor(rows)}
            parts.append(self.scores(batch))
        return Scores.joined(parts)

    def scores(self, batch: Batch) -> Scores:
        """The scores of images, with the noise that an evaluation gives them.

        Args:
            batch: the images, what the model is conditioned on, and ``index``, their numbers in
                their split.

        Raises:
            AttnFlowError: a model of noisy images, which has no bits/dim.
        """
        if self.model.metric != "bpd":
            raise AttnFlowError(
                f"{self.name}: expected a model of dequantized images, which has bits/dim, got one "
                "of images with Gaussian noise."
            )
        batch = self.here(batch)
        keys = sample_keys(self.loaded.seed, NO_EPOCH, batch["index"])
        return score_images(self.model, batch, uniform_noise(keys, self.model.image_shape))

    def here(self, batch: Batch) -> dict[str, Tensor]:
        """A batch where the model is."""
        return {name: values.to(self.loaded.device) for name, values in batch.items()}


class Shelf:
    """Models by name, of which those last asked for are kept open.

    Args:
        paths: their checkpoints.
        read_data: makes the data of one.
        device: that they run on.
        trust: what their configs may name beside attnflow's own (README, What is trusted).
        most_tests: test images that a model scores at most.
        most_open: models that are kept.
    """

    def __init__(
        self,
        paths: Mapping[str, Path],
        read_data: ReadData,
        device: torch.device | str = "cpu",
        trust: Sequence[str] = (),
        most_tests: int = 256,
        most_open: int = 4,
    ) -> None:
        self.paths, self.read_data, self.device, self.trust = dict(paths), read_data, device, trust
        self.most_tests, self.most_open = most_tests, most_open
        self._open: dict[str, Opened] = {}

    @property
    def names(self) -> list[str]:
        """Of all models."""
        return list(self.paths)

    def open(self, name: str) -> Opened:
        """The model of a name.

        Raises:
            AttnFlowError: there is no such name, or its file cannot be read.
        """
        check_choice("model", name, self.names)
        opened = self._open.pop(name, None) or self._load(name)
        self._open[name] = opened  # the last one
        while len(self._open) > self.most_open:
            self._open.pop(next(iter(self._open)))
        return opened

    def _load(self, name: str) -> Opened:
        path = self.paths[name]
        checkpoint = read_checkpoint(path)
        model = load_model(checkpoint, path, self.trust).to(self.device)
        held = checkpoint[KEY]
        loaded = LoadedModel(model, held["config"]["seed"], held["config"]["choices"])
        steps = checkpoint["global_step"]
        return Opened(name, loaded, held, steps, self.read_data, self.most_tests)
