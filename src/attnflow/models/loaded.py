"""A trained model for its users: integer images in, integer images out."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from attnflow.context import Context
from attnflow.errors import ArgumentError, AttnFlowError, check_count
from attnflow.flows.base import Flow
from attnflow.flows.inputs import (
    as_labels,
    check_integers,
    check_latents,
    check_temperature,
)
from attnflow.models.checkpoint import KEY, find_best, load_model, read_checkpoint
from attnflow.models.conditioning import ClassConditioning, ImageConditioning
from attnflow.models.image_model import Batch, ImageModel
from attnflow.utils.arguments import check_seed
from attnflow.utils.noise import NO_EPOCH, sample_keys, uniform_noise

__all__ = ["LoadedModel", "load"]

Labels = int | Sequence[int] | Tensor


def load(path: str | Path, trust: Sequence[str] = ()) -> LoadedModel:
    """The whole model of a checkpoint, in eval mode, with its averaged weights if it has them.

    No code in the file is run, and only classes of this package that are parts of a model are
    made out of what the file says (README, What is trusted).

    Args:
        path: a checkpoint that training wrote; a run's folder, for its best checkpoint; a folder
            that ``attnflow export`` wrote; or ``hf://user/name``, one in the Hugging Face Hub.
        trust: what else the file's config may name: packages, with all that is defined in them,
            and full names of classes, as in ``("my_package",)``.

    Raises:
        AttnFlowError: the file is missing, damaged or not one of ours, or names what is not
            trusted.

    Example:
        >>> model = load("models/digits")
        >>> images = model.sample(4, label=3, seed=0)
        >>> images.shape, images.dtype, model.num_bins
        (torch.Size([4, 1, 8, 8]), torch.uint8, 17)
        >>> model.bits_per_dim(images, label=3).shape
        torch.Size([4])
    """
    if not isinstance(path, str | os.PathLike):
        raise AttnFlowError(
            f"path: expected the path of a checkpoint or of a run's folder, got {path!r}."
        )
    if not isinstance(trust, Collection):
        raise AttnFlowError(f"trust: expected a list of packages or full names, got {trust!r}.")
    found = find_best(path)
    checkpoint = read_checkpoint(found)
    model = load_model(checkpoint, found, trust)
    config = checkpoint[KEY]["config"]
    return LoadedModel(model, config["seed"], config["choices"])


class LoadedModel(nn.Module):
    """p(image) or p(image | condition) of integer images, after its training.

    Images are whole numbers from 0 to ``num_bins - 1``, (B, C, H, W), on any device; results are
    where the model is (:meth:`to` moves it). A model of classes takes a ``label``, one of
    images a ``condition``: one for all of a batch, or one for each image.

    Args:
        model: in eval mode.
        seed: of its training, which the noise of :meth:`bits_per_dim` belongs to.
        choices: of the config groups, for ``repr``.

    Attributes:
        model: flow, dequantization and conditioning.

    Example:
        >>> model = load("models/digits")
        >>> images = model.sample(2, label=[1, 7], seed=0)
        >>> latents = model.encode(images, label=[1, 7])
        >>> torch.equal(model.decode(latents, label=[1, 7]), images)
        True
    """

    def __init__(self, model: ImageModel, seed: int = 0, choices: Mapping | None = None) -> None:
        super().__init__()
        self.model, self.seed, self.choices = model, seed, dict(choices or {})

    @property
    def flow(self) -> Flow:
        """The density of continuous values, (images + u) / num_bins with u in [0, 1)."""
        return self.model.flow

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return self.model.image_shape

    @property
    def num_bins(self) -> int:
        """How many grey values a pixel can take."""
        return self.model.num_bins

    @property
    def device(self) -> torch.device:
        """The device of the model's weights."""
        return next(self.parameters()).device

    @torch.no_grad()
    def sample(
        self,
        n: int,
        label: Labels | None = None,
        condition: Tensor | None = None,
        temperature: float = 1.0,
        seed: int | None = None,
        batch_size: int = 256,
        guidance: float | None = None,
    ) -> Tensor:
        """Draw n images: uint8, (n, C, H, W).

        Args:
            n: how many.
            label: of a model of classes: one number for all, or n of them.
            condition: of a model of images: an integer image (C', H', W') for all, or n of them.
            temperature: standard deviation of the latents, 0 or more.
            seed: the i-th image is a function of it and of i, whatever n and the batch size; None
                for one from torch's own state.
            batch_size: images drawn at a time, which bounds the memory.
            guidance: weight of classifier-free guidance, 0 for none: the higher, the more the
                images look like their condition, and like each other; None for that of the
                model's config. Twice the time.

        Raises:
            AttnFlowError: an argument of another type, shape or range.
        """
        check_count("n", n)
        seed = int(torch.randint(2**32, ())) if seed is None else seed
        return self.numbered_samples(
            range(n), seed, label, condition, temperature, batch_size, guidance
        )

    @torch.no_grad()
    def numbered_samples(
        self,
        numbers: Sequence[int],
        seed: int,
        label: Labels | None = None,
        condition: Tensor | None = None,
        temperature: float = 1.0,
        batch_size: int = 256,
        guidance: float | None = None,
    ) -> Tensor:
        """The images of these numbers among those that :meth:`sample` draws: uint8, (n, C, H, W).

        Args:
            numbers: from 0; ``label`` and ``condition`` are one for all of them, or one for each.
            seed, label, condition, temperature, batch_size, guidance: as for :meth:`sample`.

        Raises:
            AttnFlowError: an argument of another type, shape or range.
        """
        self._check_weights()
        check_numbers(numbers)
        check_count("batch_size", batch_size)
        check_temperature(temperature)
        check_seed(seed)
        conditions = self._conditions(len(numbers), label, condition)
        drawn = []
        for rows in slices(len(numbers), batch_size):
            batch = None if conditions is None else self._part(conditions, rows)
            generator = torch.Generator(self.device).manual_seed(seed)
            options = temperature, generator, numbers[rows], guidance
            drawn.append(self.model.sample(len(numbers[rows]), batch, *options))
        return torch.cat(drawn).to(torch.uint8)

    @torch.no_grad()
    def bits_per_dim(
        self,
        images: Tensor,
        label: Labels | None = None,
        condition: Tensor | None = None,
        importance_samples: int = 1,
        first: int = 0,
        batch_size: int = 256,
    ) -> Tensor:
        """Bits per dimension of integer images: (B,).

        The noise within a grey value is that of ``eval.py``, a function of an image's number in
        its split: the mean over a whole test split, in order, is its ``test/bpd``.

        Args:
            images: (B, C, H, W), whole numbers.
            label, condition: as for :meth:`sample`, of the images.
            importance_samples: K > 1 gives the tighter bound from K noise samples an image.
            first: the first image's number in its split.
            batch_size: images looked at at a time.

        Raises:
            AttnFlowError: an argument of another type, shape or range, or a model of noisy images.
        """
        if self.model.metric != "bpd":
            raise AttnFlowError(
                "bits_per_dim: expected a model of dequantized images, got one of images with "
                "Gaussian noise, whose density is that of noisy images (flow.log_prob)."
            )
        check_count("importance_samples", importance_samples)
        check_count("first", first, least=0)
        found = []
        for rows, batch in self._batches(images, label, condition, batch_size):
            index = first + torch.arange(rows.start, rows.stop, device=self.device)
            noises = [
                uniform_noise(sample_keys(self.seed, NO_EPOCH - k, index), self.image_shape)
                for k in range(importance_samples)
            ]
            noises = [noise.to(next(self.parameters()).dtype) for noise in noises]
            found.append(self.model.importance_bits_per_dim(batch, noises))
        return torch.cat(found)

    @torch.no_grad()
    def encode(
        self,
        images: Tensor,
        label: Labels | None = None,
        condition: Tensor | None = None,
        batch_size: int = 256,
    ) -> list[Tensor]:
        """The latents of every level, of the middle of each pixel's grey value.

        They are near N(0, I) for images like those of the training, and :meth:`decode` gives the
        images again, all of them exactly. Arguments and errors as for :meth:`bits_per_dim`.
        """
        parts = []
        for _, batch in self._batches(images, label, condition, batch_size):
            like = next(self.parameters())
            y = (batch["image"].to(like.dtype) + 0.5) / self.num_bins
            parts.append(self.flow.encode(y, self.model.context(batch)))
        return [torch.cat(level) for level in zip(*parts, strict=True)]

    @torch.no_grad()
    def decode(
        self,
        latents: Sequence[Tensor],
        label: Labels | None = None,
        condition: Tensor | None = None,
        batch_size: int = 256,
    ) -> Tensor:
        """Images, uint8, (B, C, H, W), of the latents of every level.

        Args:
            latents: one tensor a level, as :meth:`encode` gives them.
            label, condition: as for :meth:`sample`; other ones than the images had change them.
            batch_size: images made at a time.

        Raises:
            AttnFlowError: an argument of another number, type, shape or range.
        """
        self._check_weights()
        check_latents(latents, self.flow.latent_shapes, next(self.parameters()))
        for level, latent in enumerate(latents):
            if not latent.isfinite().all():
                raise AttnFlowError(f"the latent of level {level}: expected finite values.")
        n = len(latents[0])
        check_count("batch_size", batch_size)
        conditions = self._conditions(n, label, condition)
        parts = []
        for rows in slices(n, batch_size):
            context = None if conditions is None else self._context(conditions, rows)
            y = self.flow.decode([latent[rows] for latent in latents], context)
            parts.append(self.model.dequantizer.quantize(y))
        return torch.cat(parts).to(torch.uint8)

    def _batches(
        self,
        images: Tensor,
        label: Labels | None,
        condition: Tensor | None,
        batch_size: int,
    ) -> Iterator[tuple[slice, Batch]]:
        """The images with their conditions, where the model is, some at a time."""
        self._check_weights()
        check_integers("images", images, self.image_shape, self.num_bins)
        check_count("batch_size", batch_size)
        conditions = self._conditions(len(images), label, condition) or {}
        for rows in slices(len(images), batch_size):
            yield rows, self._part({"image": images, **conditions}, rows)

    def _check_weights(self) -> None:
        """Raise where the weights have become too coarse for an exact density and inverse."""
        found = next(self.parameters()).dtype
        if found not in (torch.float32, torch.float64):
            raise AttnFlowError(
                f"the model's weights: expected torch.float32 or torch.float64, got {found}; load "
                "the model anew for those of its training."
            )

    def _part(self, fields: Batch, rows: slice) -> Batch:
        """Some rows of a batch, where the model is."""
        return {name: values[rows].to(self.device) for name, values in fields.items()}

    def _context(self, conditions: Batch, rows: slice) -> Context | None:
        return self.model.context(self._part(conditions, rows))

    def _conditions(self, n: int, label: Labels | None, condition: Tensor | None) -> Batch | None:
        """Check the condition and return it as a batch, a row for each of n images."""
        given = {"label": label, "condition": condition}
        conditioning = self.model.conditioning
        field = None if conditioning is None else conditioning.field
        for name, value in given.items():
            if (value is not None) != (name == field):
                wanted = "one for all images, or one for each" if name == field else "None"
                raise AttnFlowError(
                    f"{name}: this model is conditioned on {field or 'nothing'}: expected "
                    f"{wanted}, got {'None' if value is None else 'one'}."
                )
        if field is None:
            return None
        if isinstance(conditioning, ClassConditioning):
            return {field: as_labels(label, n, conditioning.num_classes)}
        return {field: self._condition_images(cast(Tensor, condition), n)}

    def _condition_images(self, condition: Tensor, n: int) -> Tensor:
        """(n, C', H', W') of one condition image, or of n."""
        conditioning = cast(ImageConditioning, self.model.conditioning)
        if isinstance(condition, Tensor) and condition.ndim == 3:
            condition = condition[None]
        check_integers("condition", condition, conditioning.shape, conditioning.num_bins)
        if len(condition) not in (1, n):
            raise AttnFlowError(
                f"condition: expected one image, or one for each of {n}, got {len(condition)}."
            )
        return condition.expand(n, -1, -1, -1)

    def __repr__(self) -> str:
        conditioning = self.model.conditioning
        condition = "nothing" if conditioning is None else f"a {conditioning.field}"
        if isinstance(conditioning, ClassConditioning):
            condition += f" from 0 to {conditioning.num_classes - 1}"
        elif isinstance(conditioning, ImageConditioning):
            condition += f" {_sizes(conditioning.shape)} in {conditioning.num_bins} grey values"
        lines = [
            f"LoadedModel of {sum(p.numel() for p in self.parameters()):,} parameters",
            f"  images: {_sizes(self.image_shape)} in {self.num_bins} grey values",
            f"  given: {condition}",
        ]
        shown = ("data", "attention", "placement", "coupling", "prior", "dequantization")
        lines += [f"  {group}: {self.choices[group]}" for group in shown if group in self.choices]
        return "\n".join(lines)


def check_numbers(numbers: object) -> None:
    """Raise :class:`AttnFlowError` unless these are numbers of samples."""
    if isinstance(numbers, str) or not isinstance(numbers, Sequence) or not numbers:
        raise ArgumentError("numbers", "a list of one whole number or more", numbers)
    for number in (numbers[0], numbers[-1]) if isinstance(numbers, range) else numbers:
        check_count("numbers", number, least=0)


def slices(n: int, size: int) -> Iterator[slice]:
    """Slices of up to ``size`` that cover 0 .. n."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
