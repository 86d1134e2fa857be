"""How often samples of a class are classified as that class, at several weights of guidance.

    python benchmarks/guidance.py logs/train/RUN --images 1000 --weights 0 0.5 1 2

The samples of a class-conditional model are judged by a small CNN that is trained on the data set's
own training images and labels (the one of metrics=domain); its accuracy on the real test images
stands beside. The guided samples' bits/dim under the model itself, given their class, tell how far
guidance moves them. Writes a table to benchmarks/results/ and the first samples of each class, a
row a class, as a PNG beside it.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import torch
from hydra.utils import instantiate
from recipes import compose_config
from tables import RESULTS, save_table
from torch import Tensor
from torchvision.utils import save_image

from attnflow import LoadedModel, load
from attnflow.data.base import ImageDataModule
from attnflow.metrics import DomainClassifier
from attnflow.metrics.images import fetch, to_extract

COLUMNS = ("images", "guidance", "classified rightly", "std err", "bits/dim given the class")
PICTURED = 10  # of a class


def accuracy(classifier: DomainClassifier, images: Tensor, labels: Tensor) -> float:
    """Share of images (uint8, N x C x H x W) whose most likely class is their label."""
    found = [classifier.logits(part).argmax(1) for part in images.split(256)]
    return float((torch.cat(found) == labels).double().mean())


def row(name: str, weight: str, share: float, count: int, bits: str) -> list[str]:
    error = math.sqrt(share * (1 - share) / count)
    return [name, weight, f"{share:.3f}", f"{error:.3f}", bits]


def mean_bits(model: LoadedModel, images: Tensor, labels: Tensor) -> str:
    """Bits/dim of images given their classes; nothing under a model of noisy images."""
    if model.model.metric != "bpd":
        return ""
    return f"{float(model.bits_per_dim(images, label=labels).mean()):.3f}"


def real_row(model: LoadedModel, data: ImageDataModule, classifier: DomainClassifier) -> list[str]:
    """Of the test images."""
    rows = data.dataset("test")
    batch = fetch(rows, range(len(rows)))
    images, labels = batch["image"], batch["label"].long()
    share = accuracy(classifier, to_extract(images, data.spec), labels)
    return row("real, test", "", share, len(labels), mean_bits(model, images, labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", help="or a run's folder")
    parser.add_argument("--data", default="mnist5k", help="option of the group data")
    parser.add_argument("--images", type=int, default=1000, help="of each weight, all classes")
    parser.add_argument("--weights", type=float, nargs="+", default=[0, 0.5, 1, 2])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data: ImageDataModule = instantiate(compose_config([f"data={arguments.data}"]).data)
    model, classifier = load(arguments.checkpoint), DomainClassifier()
    with tempfile.TemporaryDirectory() as folder:
        classifier.prepare(data, Path(folder))
        classifier.load(data, Path(folder))
    assert data.spec.num_classes is not None  # prepare has refused the others
    labels = torch.arange(arguments.images) % data.spec.num_classes
    rows = [real_row(model, data, classifier)]
    for weight in arguments.weights:
        images = model.sample(len(labels), label=labels, seed=arguments.seed, guidance=weight)
        share = accuracy(classifier, to_extract(images, data.spec), labels)
        bits = mean_bits(model, images, labels)
        rows.append(row("samples", f"{weight:g}", share, len(labels), bits))
        print(rows[-1], flush=True)
        first = torch.cat([images[labels == each][:PICTURED] for each in labels.unique()])
        picture = RESULTS / f"guidance_{weight:g}.png"
        save_image(first / (data.spec.num_bins - 1), picture, nrow=PICTURED)
    title = f"{arguments.data}: {arguments.images} samples a weight, seed {arguments.seed}"
    save_table("guidance", title, COLUMNS, rows)


if __name__ == "__main__":
    main()
