"""The interface of networks by whose features sample quality is measured."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from attnflow.data.base import ImageDataModule

__all__ = ["FeatureExtractor"]


class FeatureExtractor(nn.Module):
    """features = f(image), with the names under which figures on them are logged.

    Attributes:
        num_features: D, of a feature vector.
        names: what each measure that the features serve is called, after ``val/`` or
            ``test/``: its mean and, where it is logged, its standard deviation.
        fingerprint: tells two extractors apart, weights included; known after :meth:`load`.
    """

    num_features: int
    names: dict[str, tuple[str, ...]]
    fingerprint: str

    def prepare(self, datamodule: ImageDataModule, cache_dir: Path) -> None:
        """Bring the weights to disk, by download or training; called on rank 0 alone."""
        raise NotImplementedError

    def load(self, datamodule: ImageDataModule, cache_dir: Path) -> None:
        """Read the files that :meth:`prepare` left; called on every rank."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Features of images (B, C, H, W), uint8 in 0 .. 255: float32, (B, D)."""
        raise NotImplementedError

    def class_scores(self) -> nn.Module:
        """Features (B, D) to the class logits (B, K) that the Inception score reads."""
        raise NotImplementedError
