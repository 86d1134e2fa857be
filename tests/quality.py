"""What the tests of sample quality share: a tiny flow, a fast extractor, a trainer."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from lightning import LightningDataModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim import Adam

from attnflow.callbacks.image_quality import ImageQuality
from attnflow.flows.glow import Glow
from attnflow.metrics import FeatureExtractor
from attnflow.models.dequantization import UniformDequantizer
from attnflow.models.image_model import ImageModel
from attnflow.nets import ConvNet
from attnflow.training.module import FlowModule
from attnflow.transforms import AffineCoupling

DIGITS_SHAPE = (1, 8, 8)


class PixelFeatures(FeatureExtractor):
    """Eight random projections of digits: an extractor that takes no time."""

    num_features = 8

    def __init__(self, seed: int = 0, prefix: str = "") -> None:
        super().__init__()
        self.names = {
            "frechet": (f"{prefix}fd",),
            "kernel": (f"{prefix}kd_mean", f"{prefix}kd_std"),
            "inception_score": (f"{prefix}score",),
            "precision_recall": (f"{prefix}precision", f"{prefix}recall"),
        }
        self.fingerprint = str(seed)
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("weight", torch.randn(64, 8, generator=generator) / 8)
        self.images_seen = 0

    def prepare(self, datamodule: LightningDataModule, cache_dir: Path) -> None:
        pass

    def load(self, datamodule: LightningDataModule, cache_dir: Path) -> None:
        pass

    def forward(self, images: Tensor) -> Tensor:
        self.images_seen += len(images)
        return (images.flatten(1).float() / 255) @ self.weight

    def class_scores(self) -> nn.Module:
        return nn.Identity()


def tiny_module(conditioning: nn.Module | None = None) -> FlowModule:
    """A flow of digits with two steps and 16 channels."""
    flow = Glow(
        DIGITS_SHAPE,
        levels=1,
        steps=2,
        coupling=partial(AffineCoupling, net=partial(ConvNet, hidden_channels=16)),
    )
    model = ImageModel(flow, UniformDequantizer(17, DIGITS_SHAPE), conditioning)
    return FlowModule(model, optimizer=partial(Adam, lr=1e-3))


def quality(cache_dir: Path, extractor: FeatureExtractor | None = None, **options) -> ImageQuality:
    """The callback at sizes that take no time."""
    sizes = {
        "num_samples": 100,
        "num_samples_val": 50,
        "every_n_epochs": 1,
        "batch_size": 16,
        "measures": ("frechet", "kernel"),
        "subset_size": 100,
        "num_subsets": 2,
    }
    return ImageQuality(extractor or PixelFeatures(), str(cache_dir), **(sizes | options))


def quick_trainer(folder: Path, *callbacks: Callback, **options) -> Trainer:
    """A trainer of two short epochs on the CPU."""
    short = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 2,
        "limit_train_batches": 2,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "logger": False,
    }
    return Trainer(default_root_dir=folder, callbacks=list(callbacks), **(short | options))


def figures_of(
    folder: Path,
    callbacks: ImageQuality | list[ImageQuality],
    module: FlowModule,
    data: LightningDataModule,
    **options,
) -> dict[str, float]:
    """The figures that testing logs."""
    callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
    trainer = quick_trainer(folder, *callbacks, **options)
    trainer.test(module, data, verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}
