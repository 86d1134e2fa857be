"""What a model says of one image: its bits/dim beside those of the test images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from attnflow.errors import AttnFlowError
from attnflow.explore.opened import Opened
from attnflow.metrics.images import cut_padding, to_uint8
from attnflow.metrics.scores import Scores, codec_bits_per_dim
from attnflow.models.image_model import Batch

__all__ = ["Verdict", "verdict_on"]

LEAST_VALUES = 1024  # of an image that a codec is asked about


@dataclass(frozen=True)
class Verdict:
    """What a model says of one image.

    Attributes:
        scores: of the image, and what they are made of.
        codec: what a lossless codec takes for it, in bits/dim; None of an image so small that most
            of that would be the file's header.
        tests: the bits/dim of test images, (N,); None where they are not here.
        missing: why they are not; "" where they are.
    """

    scores: Scores
    codec: float | None
    tests: Tensor | None
    missing: str = ""

    @property
    def bits(self) -> float:
        """Of the image, in bits/dim."""
        return float(self.scores.bits)

    def rows(self) -> Iterator[tuple[str, str]]:
        """The figures in words, by name."""
        yield "bits/dim", f"{self.bits:.3f}"
        if self.tests is not None:
            below = int((self.tests < self.bits).sum())
            yield "test images with fewer", f"{below} of {len(self.tests)}"
            yield "mean of the test images", f"{float(self.tests.double().mean()):.3f}"
        if self.codec is not None:
            yield "lossless PNG or WebP", f"{self.codec:.3f} bits/dim"
        for level, norm in enumerate(self.scores.norms[0].tolist()):
            bits = float(self.scores.latent_bits[0, level])
            yield f"latents of level {level}", f"{bits:.3f} bits/dim, norm {norm:.2f}"
        yield "log-determinant and grey values", f"{float(self.scores.volume_bits):.3f} bits/dim"


def verdict_on(opened: Opened, batch: Batch) -> Verdict:
    """Score an image, with the noise that an evaluation gives to its number.

    Args:
        batch: of one image, where the model is.

    Raises:
        AttnFlowError: a model of noisy images, which has no bits/dim.
    """
    scores = opened.scores(batch)
    pixels = to_uint8(cut_padding(batch["image"], opened.shape), opened.spec.num_bins)
    codec = float(codec_bits_per_dim(pixels)) if pixels.numel() >= LEAST_VALUES else None
    try:
        return Verdict(scores, codec, opened.test_scores.bits.cpu())
    except AttnFlowError as error:
        return Verdict(scores, codec, None, str(error))
