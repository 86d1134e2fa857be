"""What measuring sample quality costs beyond its two parts, sampling and feature extraction.

    python benchmarks/evaluation.py --images 1000 --repeats 3

The ImageQuality callback draws images of 32 x 32 pixels from a flow and takes Inception
features of them for FID; beside it, in turns, the same samples are drawn alone and the same
features taken alone. The weights are random, which costs the same. Writes a table to
benchmarks/results/.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
from lightning import LightningModule
from tables import save_table
from torch import Tensor
from torch_fidelity import feature_extractor_inceptionv3 as fidelity

from attnflow.callbacks.image_quality import ImageQuality
from attnflow.data import PhotosDataModule, TensorImages
from attnflow.flows.glow import Glow
from attnflow.metrics import Inception
from attnflow.models.dequantization import UniformDequantizer
from attnflow.models.image_model import ImageModel

SIZE = 32
REAL_IMAGES = 64  # their statistics are kept, and no part of any timing
TARGET = 1.2


def random_weights(path: Path) -> Path:
    """torch-fidelity's architecture with random weights, in its file format."""
    with (
        mock.patch.object(fidelity, "load_state_dict_from_url", return_value={}),
        mock.patch.object(fidelity.FeatureExtractorInceptionV3, "load_state_dict"),
    ):
        network = fidelity.FeatureExtractorInceptionV3("random", ["2048"])
    torch.save(network.state_dict(), path)
    return path


class FewPhotos(PhotosDataModule):
    """Real images enough to have something to compare with."""

    def read(self, split: str) -> TensorImages:
        return TensorImages(super().read(split).fields["image"][:REAL_IMAGES])


def seconds(task: Callable[[], object], device: torch.device) -> float:
    """Wall time of a task, to the end of what it queued."""
    started = time.perf_counter()
    task()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def make_callback(folder: Path, images: int, batch_size: int) -> ImageQuality:
    """With its extractor loaded."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="metrics.num_samples")
        callback = ImageQuality(
            Inception(str(random_weights(folder / "weights.pth"))),
            str(folder / "statistics"),
            num_samples=images,
            num_samples_val=None,
            batch_size=batch_size,
        )
    callback.extractor.load(FewPhotos(size=SIZE), callback.cache_dir)
    return callback


@torch.no_grad()
def measure(images: int, repeats: int, batch_size: int, device: torch.device) -> list[list[float]]:
    """Seconds of sampling, of features and of the callback, a row a repeat."""
    flow = Glow((3, SIZE, SIZE), levels=3, steps=16)
    module = LightningModule()
    module.model = ImageModel(flow, UniformDequantizer(256, flow.image_shape))
    module.to(device).eval()
    # All that the callback reads of a trainer.
    trainer = SimpleNamespace(world_size=1, datamodule=FewPhotos(size=SIZE))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        callback = make_callback(Path(folder), images, batch_size)
        extractor = callback.extractor.to(device)

        def together() -> object:
            return callback.measure(trainer, module, "test", images, callback.measures)

        def sampling() -> list[Tensor]:
            return [drawn for _, drawn in callback.samples(trainer, module, "test", images)]

        batches = sampling()
        # Nothing is timed cold; this also keeps the statistics of the real images.
        callback.measure(trainer, module, "test", batch_size, callback.measures)

        def features() -> list[Tensor]:
            return [extractor(batch.to(torch.uint8)) for batch in batches]

        for repeat in range(repeats):
            rows.append([seconds(task, device) for task in (sampling, features, together)])
            print(f"repeat {repeat}: {', '.join(f'{s:.1f}' for s in rows[-1])} s", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=1000, help="samples a measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if min(arguments.images - 1, arguments.repeats, arguments.batch_size - 1) < 1:
        parser.error(
            "expected 2 images, 1 repeat and a batch of 2 or more, got "
            f"{arguments.images}, {arguments.repeats} and {arguments.batch_size}"
        )
    torch.set_num_threads(1)
    device = torch.device(arguments.device)
    rows = measure(arguments.images, arguments.repeats, arguments.batch_size, device)
    sampling, features, together = (statistics.median(column) for column in zip(*rows, strict=True))
    ratios = [row[2] / (row[0] + row[1]) for row in rows]
    save_table(
        "evaluation",
        f"FID of {arguments.images:,} samples at {SIZE} x {SIZE} against sampling and Inception "
        f"features apart, {device.type}, one CPU thread, medians of {arguments.repeats} "
        f"interleaved repeats; target at most {TARGET}",
        ("sampling s", "features s", "callback s", "ratio", "ratios"),
        [
            [
                f"{sampling:.2f}",
                f"{features:.2f}",
                f"{together:.2f}",
                f"{statistics.median(ratios):.3f}",
                " ".join(f"{ratio:.3f}" for ratio in ratios),
            ]
        ],
    )


if __name__ == "__main__":
    main()
