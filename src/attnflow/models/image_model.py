"""A flow over integer images: conditioning, dequantization and exact bits per dimension."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from attnflow.context import Context
from attnflow.errors import ArgumentError
from attnflow.flows.base import Flow
from attnflow.models.bits import bits_per_dim, num_dimensions
from attnflow.models.conditioning import Conditioning
from attnflow.models.dequantization import Dequantizer

__all__ = ["Batch", "ImageModel"]

# What a DataModule delivers: "image" (B, C, H, W) of integers, "index" (B,), and where the
# data set has them "label" (B,) and "condition" (B, C', H', W').
Batch = Mapping[str, Tensor]


class ImageModel(nn.Module):
    """p(image) or p(image | condition) of integer images, through a flow.

    Args:
        flow: the density of continuous values.
        dequantizer: takes integers to continuous values.
        conditioning: makes a context of a batch, or None for an unconditional model; it is built
            for the flow's feature maps here.
        unpadded_shape: (C, H, W) of the images before padding, whose dimensions bits/dim are
            counted in; None where images are not padded.
    """

    def __init__(
        self,
        flow: Flow,
        dequantizer: Dequantizer,
        conditioning: Conditioning | None = None,
        unpadded_shape: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        self.flow = flow
        self.dequantizer = dequantizer
        self.conditioning = conditioning
        self.unpadded_shape = unpadded_shape
        if conditioning is not None:
            conditioning.build(flow.map_sizes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return self.flow.image_shape

    @property
    def metric(self) -> str:
        """What :meth:`forward` gives: ``bpd``, or ``noisy_bpd`` of a model of noisy images."""
        return self.dequantizer.metric

    @property
    def num_bins(self) -> int:
        """How many grey values a pixel can take."""
        return self.dequantizer.num_bins

    def forward(self, batch: Batch, noise: Tensor, dropped: Tensor | None = None) -> Tensor:
        """Bits per dimension of every image of the batch: (B,).

        With variational dequantization, an upper bound from one noise sample; with Gaussian
        noise, those of the noisy image (:attr:`metric`).

        Args:
            batch: holds at least ``image``.
            noise: the shape of the images, uniform in [0, 1).
            dropped: which samples have no condition, bool (B,), of a model with condition
                dropout; None for none of them.
        """
        return self._bits(self._log_weight(batch, noise, dropped))

    def importance_bits_per_dim(self, batch: Batch, noises: Sequence[Tensor]) -> Tensor:
        """The importance-weighted bound from K noise samples, tighter than the one-sample one.

        ``-log mean_k p(y_k) / q(u_k | x)``, in bits per dimension: (B,). Burda et al. (2016).

        Args:
            batch: holds at least ``image``.
            noises: K tensors of the images' shape, uniform in [0, 1); read one by one.

        Raises:
            AttnFlowError: K > 1 of a model of noisy images.
        """
        if len(noises) > 1 and self.metric != "bpd":
            raise ArgumentError("importance_samples", "1 of a model of noisy images", len(noises))
        total = torch.tensor(-torch.inf, device=batch["image"].device)
        for noise in noises:
            total = torch.logaddexp(total, self._log_weight(batch, noise))
        return self._bits(total - math.log(len(noises)))

    def _log_weight(self, batch: Batch, noise: Tensor, dropped: Tensor | None = None) -> Tensor:
        """log p(y) - log q(u | x), in nats: (B,)."""
        y, log_q = self.dequantizer(batch["image"], noise)
        return self.flow.log_prob(y, self.context(batch, dropped)) - log_q

    def _bits(self, log_weight: Tensor) -> Tensor:
        bits = bits_per_dim(log_weight, self.image_shape, self.num_bins)
        if self.unpadded_shape is None:
            return bits
        # The bits of the padding are the model's to pay: it could know that they are zeros.
        return bits * num_dimensions(self.image_shape) / num_dimensions(self.unpadded_shape)

    def context(self, batch: Batch, dropped: Tensor | None = None) -> Context | None:
        """The flow's context of a batch; None for an unconditional model.

        Arguments are those of :meth:`forward`.
        """
        if self.conditioning is None:
            return None
        context = self.conditioning(batch)
        return context if dropped is None else self.conditioning.drop(context, dropped)

    def guide(self, weight: float) -> None:
        """Guide samples by a weight unless they are given one.

        Raises:
            AttnFlowError: as :meth:`guided`.
        """
        self.guided(None, weight)
        if self.conditioning is not None:
            self.conditioning.guidance = weight

    def guided(self, context: Context | None, weight: float | None) -> Context | None:
        """The context of samples that are guided by a weight, as of :meth:`sample`.

        Raises:
            AttnFlowError: a weight that this model's samples cannot be guided by.
        """
        if self.conditioning is not None:
            return self.conditioning.guided(context, weight)
        if weight:
            raise ArgumentError("guidance", "0 of a model without a condition", weight)
        return context

    @torch.no_grad()
    def initialize(self, batch: Batch, noise: Tensor) -> None:
        """The flow's data-dependent initialisation, from one batch."""
        y, _ = self.dequantizer(batch["image"], noise)
        self.flow.initialize(y, self.context(batch))

    # Taking noise away needs gradients, which the tensors of an evaluation do not have.
    @torch.inference_mode(False)
    @torch.no_grad()
    def sample(
        self,
        n: int,
        batch: Batch | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        numbers: Sequence[int] | None = None,
        guidance: float | None = None,
    ) -> Tensor:
        """Draw integer images, each a function of the generator's state and its number.

        Args:
            n: how many.
            batch: holds n conditions, if any are read.
            temperature, generator: as of :meth:`Flow.sample <attnflow.flows.Flow.sample>`.
            numbers: of the images; 0 to n - 1 by default.
            guidance: weight of classifier-free guidance, 0 for none; None for that of the
                conditioning. What is denoised is so by the density without guidance.

        Returns:
            (n, C, H, W).

        Raises:
            AttnFlowError: an argument out of its range, or guidance of a model that has not
                learned to do without its condition.
        """
        context = None if batch is None else self.context(batch)
        guided = self.guided(context, guidance)
        y = self.flow.sample(n, guided, temperature, generator, numbers=numbers)
        if temperature > 1 and not y.isfinite().all():
            raise ArgumentError("temperature", "one whose samples are finite", temperature)
        return self.dequantizer.restore(y, partial(self.flow.log_prob, context=context))
