"""Figures of conditional models: which conditions to draw, and how well they are used."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Protocol, cast

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from attnflow.errors import AttnFlowError
from attnflow.models.conditioning import ClassConditioning, Conditioning, ImageConditioning
from attnflow.models.image_model import Batch, ImageModel

__all__ = ["agreement_with_labels", "bayes_rule", "fidelity_to_truth", "shuffled_bits_per_dim"]

LARGEST_WINDOW = 7  # of SSIM, in pixels


class Scorer(Protocol):
    """A model on its device with the noise of its evaluation, such as a FlowModule."""

    model: ImageModel

    @property
    def device(self) -> torch.device: ...

    def bits_per_dim(self, batch: Batch) -> Tensor:
        """Bits per dimension of every image: (B,)."""
        ...


@torch.no_grad()
def bayes_rule(module: Scorer, batches: list[Batch], frequencies: Tensor) -> float:
    """Accuracy of ``argmax_y p(x | y) p(y)``, every class with the same noise.

    Args:
        module: of a class model.
        batches: with ``image``, ``label`` and ``index``.
        frequencies: p(y), (num_classes,).
    """
    num_classes = cast(ClassConditioning, module.model.conditioning).num_classes
    accuracy = MulticlassAccuracy(num_classes, average="micro").to(module.device)
    nats_a_bit = math.log(2) * math.prod(module.model.unpadded_shape or module.model.image_shape)
    for batch in batches:
        batch = {name: value.to(module.device) for name, value in batch.items()}
        scores = []
        for label in range(num_classes):
            asked = {**batch, "label": torch.full_like(batch["label"], label)}
            scores.append(-module.bits_per_dim(asked) * nats_a_bit)
        scores = torch.stack(scores, 1) + frequencies.to(module.device).log()
        accuracy.update(scores.argmax(1), batch["label"])
    return float(accuracy.compute())


@torch.no_grad()
def shuffled_bits_per_dim(module: Scorer, batches: list[Batch]) -> float:
    """Mean bits/dim when every image has the next one's condition, to see if it is used."""
    field = cast(Conditioning, module.model.conditioning).field
    conditions = torch.cat([batch[field] for batch in batches]).roll(1, 0)
    values, start = [], 0
    for batch in batches:
        rows = slice(start, start + len(batch["image"]))
        swapped = {**batch, field: conditions[rows]}
        swapped = {name: value.to(module.device) for name, value in swapped.items()}
        values.append(module.bits_per_dim(swapped))
        start = rows.stop
    return float(torch.cat(values).mean())


@torch.no_grad()
def fidelity_to_truth(
    model: ImageModel, batches: Iterable[Batch], num_samples: int, temperature: float
) -> dict[str, float]:
    """How near samples for a condition come to the true image, and to each other.

    PSNR (dB) and SSIM of ``num_samples`` samples a condition, 2 or more: their mean, and the
    best; and ``diversity``, 1 - SSIM between samples of the same condition (0: all alike).

    Args:
        model: of images given images.
        batches: the true images with their conditions.
        num_samples, temperature: of the samples.
    """
    psnr, ssim, between = [], [], []
    for batch in batches:
        truth = batch["image"].float()
        samples = [model.sample(len(truth), batch, temperature).float() for _ in range(num_samples)]
        psnr.append(torch.stack([_psnr(s, truth, model.num_bins) for s in samples]))
        ssim.append(torch.stack([_ssim(s, truth, model.num_bins) for s in samples]))
        between.append(_ssim(samples[0], samples[1], model.num_bins))
    psnr, ssim, between = torch.cat(psnr, 1), torch.cat(ssim, 1), torch.cat(between)
    return {
        "psnr_mean": float(psnr.mean()),
        "psnr_best": float(psnr.amax(0).mean()),
        "ssim_mean": float(ssim.mean()),
        "ssim_best": float(ssim.amax(0).mean()),
        "diversity": float(1 - between.mean()),
    }


@torch.no_grad()
def agreement_with_labels(
    model: ImageModel, batches: Iterable[Batch], segmenter: Callable[[Tensor], Tensor]
) -> dict[str, float]:
    """Whether a segmentation network finds the labels again in images drawn for them.

    Args:
        model: of images given one-hot labels.
        batches: with ``condition`` (B, classes, H, W), one-hot.
        segmenter: takes images (B, C, H, W) in [0, 1] to class numbers (B, H, W).

    Returns:
        ``pixel_accuracy``, the mean over classes, and ``mean_iou``.
    """
    classes = cast(ImageConditioning, model.conditioning).shape[0]
    accuracy = MulticlassAccuracy(max(2, classes), average="macro")
    iou = MulticlassJaccardIndex(max(2, classes), average="macro")
    for batch in batches:
        labels = batch["condition"]
        if classes < 2 or not (labels.sum(1) == 1).all():
            raise AttnFlowError(
                "eval.segmenter: expected one-hot labels as the condition (data.labels=one_hot), "
                f"got a condition of {classes} channels that is not one-hot."
            )
        images = model.sample(len(labels), batch) / (model.num_bins - 1)
        found, truth = segmenter(images).long().cpu(), labels.argmax(1).cpu()
        if found.shape != truth.shape:
            raise AttnFlowError(
                "eval.segmenter: expected a class number for every pixel, of shape "
                f"{tuple(truth.shape)}, got shape {tuple(found.shape)}."
            )
        accuracy.update(found, truth)
        iou.update(found, truth)
    return {"pixel_accuracy": float(accuracy.compute()), "mean_iou": float(iou.compute())}


def _psnr(images: Tensor, truth: Tensor, num_bins: int) -> Tensor:
    """The peak signal-to-noise ratio of every image: (B,)."""
    return peak_signal_noise_ratio(
        images, truth, data_range=num_bins - 1.0, dim=(1, 2, 3), reduction="none"
    ).clamp_max(100.0)  # an exact hit would be infinite


def _ssim(images: Tensor, truth: Tensor, num_bins: int) -> Tensor:
    """The structural similarity of every image, over uniform windows that fit it: (B,)."""
    side = min(LARGEST_WINDOW, *images.shape[2:])
    similarity = structural_similarity_index_measure(
        images,
        truth,
        gaussian_kernel=False,
        kernel_size=side - 1 + side % 2,
        data_range=num_bins - 1.0,
        reduction="none",
    )
    return cast(Tensor, similarity)  # a pair only where more is asked for
