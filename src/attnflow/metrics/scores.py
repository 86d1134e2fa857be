"""What a model says of single images: their bits/dim, and where these come from."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from attnflow.flows.base import standard_normal_log_prob
from attnflow.models.bits import num_dimensions
from attnflow.models.image_model import Batch, ImageModel

__all__ = ["Scores", "codec_bits_per_dim", "score_images"]


@dataclass(frozen=True)
class Scores:
    """Of B images, in bits/dim of their own dimensions unless said otherwise.

    ``bits == latent_bits.sum(1) + volume_bits`` where each grey value is given noise once.

    Attributes:
        bits: (B,).
        latent_bits: what the latents of each level cost under N(0, I), (B, L).
        volume_bits: all else: the log-determinant, and the width of the grey values, (B,).
        norms: of the latents of each level over the square root of their number, about 1 for images
            like those of the training, (B, L).
    """

    bits: Tensor
    latent_bits: Tensor
    volume_bits: Tensor
    norms: Tensor

    def columns(self) -> Mapping[str, list[float]]:
        """Columns of a table by name, a row an image."""
        levels = range(self.norms.shape[1])
        return {
            "bpd": self.bits.tolist(),
            **{f"latent_bpd_{level}": self.latent_bits[:, level].tolist() for level in levels},
            "volume_bpd": self.volume_bits.tolist(),
            **{f"latent_norm_{level}": self.norms[:, level].tolist() for level in levels},
        }

    @classmethod
    def joined(cls, parts: list[Scores]) -> Scores:
        """The scores of several batches, as one."""
        fields = zip(*(vars(part).values() for part in parts), strict=True)
        return cls(*(torch.cat(values) for values in fields))


@torch.no_grad()
def score_images(model: ImageModel, batch: Batch, noise: Tensor) -> Scores:
    """The scores of a batch, whose bits/dim are those of ``model(batch, noise)``.

    Args:
        model: in eval mode.
        batch: holds at least ``image``.
        noise: the shape of the images, uniform in [0, 1).
    """
    y, log_q = model.dequantizer(batch["image"], noise)
    latents, log_det = model.flow(y, model.context(batch))
    shape = model.unpadded_shape or model.image_shape
    nats = num_dimensions(shape) * math.log(2)
    per_level = torch.stack([standard_normal_log_prob(z) for z in latents], 1)
    # Of the flow's values in [0, 1): bits_per_dim, in parts.
    widths = num_dimensions(model.image_shape) * math.log(model.num_bins)
    volume = -(log_det - log_q - widths) / nats
    latent_bits = -per_level / nats
    norms = torch.stack([z.flatten(1).square().mean(1).sqrt() for z in latents], 1)
    return Scores(volume + latent_bits.sum(1), latent_bits, volume, norms)


def codec_bits_per_dim(images: Tensor) -> Tensor:
    """What lossless codecs take for images: the shorter of PNG and WebP, in bits/dim, (B,).

    Args:
        images: uint8, (B, C, H, W), C of 1 or 3.
    """
    return torch.tensor([_codec_bytes(image) * 8 / image.numel() for image in images])


def _codec_bytes(image: Tensor) -> int:
    pixels = image.permute(1, 2, 0).cpu().numpy()
    picture = Image.fromarray(
        np.ascontiguousarray(pixels.squeeze(2) if len(image) == 1 else pixels)
    )
    sizes = []
    for name, options in (
        ("PNG", {"optimize": True}),
        ("WEBP", {"lossless": True, "quality": 100}),
    ):
        content = io.BytesIO()
        picture.save(content, name, **options)
        sizes.append(content.tell())
    return min(sizes)
