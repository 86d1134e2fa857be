"""A small classifier of the data set's own labels, whose features stand in for Inception's."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnflow.data.base import ImageDataModule
from attnflow.errors import AttnFlowError
from attnflow.metrics.extractor import FeatureExtractor
from attnflow.metrics.files import describe_split, digest, read, save
from attnflow.metrics.images import fetch, spread, to_extract

__all__ = ["DomainClassifier"]

WIDTH = 64
STEPS, BATCH_SIZE, LEARNING_RATE = 500, 64, 3e-3
SCALED = 1000  # images that the features' scale is of


class DomainClassifier(FeatureExtractor):
    """The last hidden layer, (B, 64), of a CNN trained on the data set's own labels.

    Distances on it compare runs on one data set. They are no FID: two data sets, or two
    seeds of the classifier, give figures that cannot be compared.

    The classifier is trained once, on the CPU for a fixed number of steps, and kept beside
    the reference statistics.

    Args:
        seed: of its first weights and batches.
    """

    num_features = WIDTH
    names = {  # noqa: RUF012 -- never changed
        "frechet": ("fd_domain",),
        "kernel": ("kd_domain",),
        "precision_recall": ("precision_domain", "recall_domain"),
    }

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed

    def prepare(self, datamodule: ImageDataModule, cache_dir: Path) -> None:
        """Train the classifier, unless a sound one is kept."""
        spec = datamodule.spec
        if spec.num_classes is None:
            raise AttnFlowError(
                "metrics=domain: expected a data set with labels (metrics=inception needs none), "
                f"got {type(datamodule).__name__} without (spec.num_classes is None)."
            )
        path = self._path(datamodule, cache_dir)
        if not self._restore(datamodule, path):
            classifier = train_classifier(datamodule, self.seed)
            save(path, classifier.state_dict())

    def load(self, datamodule: ImageDataModule, cache_dir: Path) -> None:
        path = self._path(datamodule, cache_dir)
        if not self._restore(datamodule, path):
            raise AttnFlowError(
                f"the domain classifier {path}: expected a file in a paths.data_dir that all ranks "
                "share, got one that this rank cannot read."
            )

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier.features(images)

    def logits(self, images: Tensor) -> Tensor:
        """Class logits of uint8 images (B, C, H, W): (B, num_classes)."""
        return self.classifier(images)

    def _path(self, datamodule: ImageDataModule, cache_dir: Path) -> Path:
        key = digest({**describe_split(datamodule, "train"), "seed": self.seed, "steps": STEPS})
        return cache_dir / f"{type(datamodule).__name__}_classifier_{key}.pt"

    def _restore(self, datamodule: ImageDataModule, path: Path) -> bool:
        """Take the kept classifier, if the file is there and sound."""
        classifier = make_classifier(datamodule, self.seed)
        held = read(path)
        own = {name: value.shape for name, value in classifier.state_dict().items()}
        if (
            not isinstance(held, dict)
            or {k: getattr(v, "shape", None) for k, v in held.items()} != own
        ):
            return False
        classifier.load_state_dict(held)
        self.classifier = classifier.eval().requires_grad_(False)
        self.fingerprint = fingerprint(held)
        return True


class Classifier(nn.Module):
    """Three convolutions, a hidden layer of 64 features and class logits.

    Args:
        channels: of the images, which may have any size.
        num_classes: of the labels.

    Attributes:
        scale: that features are divided by: then their mean square over training images is 1, and
            distances of two data sets have the same order of size.
    """

    scale: Tensor

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(64 * 16, WIDTH),
            nn.ReLU(),
        )
        self.head = nn.Linear(WIDTH, num_classes)
        self.register_buffer("scale", torch.ones(()))

    def features(self, images: Tensor) -> Tensor:
        """Features (B, 64) of uint8 images (B, C, H, W)."""
        return self.hidden(images) / self.scale

    def hidden(self, images: Tensor) -> Tensor:
        """The features before they are scaled."""
        return self.body(images.float() / 127.5 - 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.hidden(images))


def make_classifier(datamodule: ImageDataModule, seed: int) -> Classifier:
    """Make a classifier with initial weights by ``seed``; the global generator stays as it was."""
    spec = datamodule.spec
    assert spec.num_classes is not None  # DomainClassifier.prepare has refused the others
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Classifier(spec.image_shape[0], spec.num_classes)


@torch.enable_grad()
def train_classifier(datamodule: ImageDataModule, seed: int) -> Classifier:
    """Train a classifier on the training split, with a rate that falls to zero."""
    dataset = datamodule.dataset("train")
    generator = torch.Generator().manual_seed(seed)
    classifier = make_classifier(datamodule, seed)
    optimizer = torch.optim.AdamW(classifier.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        numbers = torch.randint(len(dataset), (BATCH_SIZE,), generator=generator)
        batch = fetch(dataset, numbers.tolist())
        logits = classifier(to_extract(batch["image"], datamodule.spec))
        optimizer.zero_grad()
        F.cross_entropy(logits, batch["label"].long()).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        images = fetch(dataset, spread(len(dataset), SCALED))["image"]
        hidden = classifier.hidden(to_extract(images, datamodule.spec))
        classifier.scale.copy_(hidden.square().mean().sqrt())
    return classifier


def fingerprint(state: dict[str, Tensor]) -> str:
    """Hash the values of a state dict."""
    hashed = hashlib.sha256()
    for name in sorted(state):
        hashed.update(state[name].contiguous().numpy().tobytes())
    return hashed.hexdigest()
