"""The interface of every flow."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attnflow.context import Context
from attnflow.errors import check_count
from attnflow.flows.inputs import (
    check_context,
    check_continuous,
    check_generator,
    check_image_shape,
    check_latents,
    check_temperature,
)
from attnflow.transforms.base import Transform
from attnflow.utils.noise import normal_noise, sample_keys

__all__ = ["Flow", "Shape", "standard_normal_log_prob"]

Shape = tuple[int, int, int]


class Flow(nn.Module, ABC):
    """``log p(x | context) = sum log N(z; 0, I) + log|det dz/dx|``: an exact density of images.

    Training, evaluation, pictures, compilation and checkpoints use only this interface. A
    subclass defines the map and its inverse, which take checked tensors, and describes them:
    :meth:`forward`, :meth:`inverse`, :meth:`initialize_parameters`, :meth:`blocks` and
    :attr:`latent_shapes`.

    Args:
        image_shape: (C, H, W) of an image.
        context_channels: width of the condition; 0 for an unconditional flow.

    Attributes:
        POSITIONS: where attention may stand.
        initialized: whether the data-dependent initialisation has been made.
        grey_levels: of the images that the flow is made for, where it treats them as such.

    Raises:
        AttnFlowError: no shape, or no width.
    """

    POSITIONS: tuple[str, ...] = ()
    grey_levels: int | None = None
    initialized: Tensor

    def __init__(self, image_shape: Sequence[int], context_channels: int = 0) -> None:
        super().__init__()
        check_count("context_channels", context_channels, least=0)
        self.image_shape: Shape = check_image_shape(image_shape)
        self.context_channels = context_channels
        self.register_buffer("initialized", torch.tensor(False))

    @abstractmethod
    def forward(self, x: Tensor, context: Context | None = None) -> tuple[list[Tensor], Tensor]:
        """Data to latents: x (B, C, H, W) -> tensors of :attr:`latent_shapes`, and log_det (B,)."""

    @abstractmethod
    def inverse(self, latents: Sequence[Tensor], context: Context | None = None) -> Tensor:
        """Latents to data: x such that ``forward(x)[0] == latents``."""

    @abstractmethod
    def initialize_parameters(self, x: Tensor, context: Context | None = None) -> None:
        """Set parameters that start from statistics of the data, from a batch x (B, C, H, W)."""

    @abstractmethod
    def blocks(self) -> list[Transform]:
        """The transforms that :meth:`forward` calls in turn; each is compiled by itself."""

    @property
    @abstractmethod
    def latent_shapes(self) -> list[Shape]:
        """(C, H, W) of each latent; a multi-scale flow has one a level."""

    @property
    def map_sizes(self) -> list[tuple[int, int]]:
        """(H, W) of each feature map that a context may hold; here one, as large as the images."""
        return [self.image_shape[1:]]

    def log_prob(self, x: Tensor, context: Context | None = None) -> Tensor:
        """log p(x | context), in nats of the continuous variable: (B,).

        Args:
            x: (B, C, H, W), on the device and of the type of the flow's weights.
            context: the condition of each sample, or None.

        Raises:
            AttnFlowError: another shape or type, or a context that does not fit.
        """
        self._check(x, context)
        latents, log_det = self(x, context)
        for latent in latents:
            log_det = log_det + standard_normal_log_prob(latent)
        return log_det

    def encode(self, x: Tensor, context: Context | None = None) -> list[Tensor]:
        """The latents, each distributed as N(0, I) under the model.

        Arguments and errors are those of :meth:`log_prob`.
        """
        self._check(x, context)
        return self(x, context)[0]

    def decode(self, latents: Sequence[Tensor], context: Context | None = None) -> Tensor:
        """The inverse of :meth:`encode`: latents -> (B, C, H, W).

        Raises:
            AttnFlowError: another number of latents, another shape, type or context.
        """
        check_latents(latents, self.latent_shapes, next(self.parameters()))
        self._check_context(context, len(latents[0]))
        return self.inverse(latents, context)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        context: Context | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        batch_size: int = 256,
        numbers: Sequence[int] | None = None,
    ) -> Tensor:
        """Draw images, each of which is a function of the generator's state and its number.

        Args:
            n: how many; with a context, one for each of its rows.
            context: the condition of each sample, or None.
            temperature: standard deviation of the base, 0 or more.
            generator: of the random numbers; the global one by default.
            batch_size: how many are drawn at a time, which bounds the memory.
            numbers: of the n samples; 0 to n - 1 by default.

        Returns:
            (n, C, H, W), continuous values on the scale of the training data ([0, 1) for
            dequantized images, which samples may leave).
        """
        check_count("the number of samples", n)
        check_count("batch_size", batch_size)
        check_temperature(temperature)
        check_generator(generator)
        self._check_context(context, n)
        latents = self.base_sample(n, temperature, generator, numbers)
        images = []
        for start in range(0, n, batch_size):
            rows = slice(start, start + batch_size)
            images.append(self.decode([z[rows] for z in latents], context and context.index(rows)))
        return torch.cat(images)

    def base_sample(
        self,
        n: int,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        numbers: Sequence[int] | None = None,
    ) -> list[Tensor]:
        """Latents from N(0, temperature^2 I), on the flow's device.

        Arguments are those of :meth:`sample`; a sample's latents are the same whichever others
        are drawn with it.
        """
        like, device = next(self.parameters()), generator and generator.device
        seed = int(torch.randint(2**32, (), generator=generator, device=device))
        rows = torch.as_tensor(range(n) if numbers is None else numbers, device=like.device)
        sizes = [math.prod(shape) for shape in self.latent_shapes]
        noise = normal_noise(sample_keys(seed, 0, rows), (sum(sizes),), like.dtype)
        parts = (float(temperature) * noise).split(sizes, 1)
        return [part.view(-1, *s) for part, s in zip(parts, self.latent_shapes, strict=True)]

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Context | None = None) -> None:
        """Set data-dependent parameters from a batch x (B, C, H, W); once, before training."""
        self._check(x, context)
        self.initialize_parameters(x, context)
        self.initialized.fill_(True)

    def _check(self, x: Tensor, context: Context | None) -> None:
        """Raise :class:`AttnFlowError` unless ``x`` is a batch of this flow's images."""
        check_continuous("x", x, self.image_shape, next(self.parameters()))
        self._check_context(context, len(x))

    def _check_context(self, context: Context | None, rows: int) -> None:
        """Raise :class:`AttnFlowError` unless ``context`` is a condition of ``rows`` samples."""
        like = next(self.parameters())
        check_context(context, self.context_channels, rows, len(self.map_sizes), like)


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I), summed over all but the batch dimension, in nats: (B,)."""
    z = z.flatten(1).to(torch.promote_types(z.dtype, torch.float32))
    return -0.5 * (z.square().sum(1) + z.shape[1] * math.log(2 * math.pi))
