"""The Inception network of FID, KID and the Inception score."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import (
    URL_INCEPTION_V3,
    FeatureExtractorInceptionV3,
)

from attnflow.data.base import ImageDataModule
from attnflow.errors import AttnFlowError
from attnflow.metrics.extractor import FeatureExtractor

__all__ = ["Inception"]

# torch-fidelity's own name of the file, then the name it has elsewhere.
FILE_NAMES = (Path(URL_INCEPTION_V3).name, "pt_inception-2015-12-05-6726825d.pth")
DOWNLOAD_TIMEOUT = 30.0  # seconds of silence


class Inception(FeatureExtractor):
    """The pooled features of the 2015 Inception-v3, (B, 2048), as the reference code has them.

    torch-fidelity's network, with TensorFlow's resizing to 299 x 299; grey images are
    repeated in three channels.

    Args:
        weights_path: a file of torch-fidelity's format; None for torch hub's folder, into
            which the file is downloaded if it is not there.
    """

    num_features = 2048
    names = {  # noqa: RUF012 -- never changed
        "frechet": ("fid",),
        "kernel": ("kid_mean", "kid_std"),
        "inception_score": ("inception_score", "inception_score_std"),
        "precision_recall": ("precision", "recall"),
    }

    def __init__(self, weights_path: str | None = None) -> None:
        super().__init__()
        self.weights_path = None if weights_path is None else Path(weights_path)

    def prepare(self, datamodule: ImageDataModule, cache_dir: Path) -> None:
        """Check that the data fits and that a weights file exists, and download it if need be."""
        channels = datamodule.spec.image_shape[0]
        if channels not in (1, 3):
            raise AttnFlowError(
                f"metrics=inception: expected images of 1 or 3 channels, got {channels}."
            )
        if self.weights_path is not None and not self.weights_path.is_file():
            raise AttnFlowError(
                f"metrics.extractor.weights_path: expected torch-fidelity's {FILE_NAMES[0]}, got "
                f"{self.weights_path}, which does not exist."
            )
        if self.weights_path is None and not any(path.is_file() for path in hub_paths()):
            download(hub_paths()[0])

    def load(self, datamodule: ImageDataModule, cache_dir: Path) -> None:
        path = self.weights_path or next(path for path in hub_paths() if path.is_file())
        self.network = read_network(path)
        self.fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        return self.network(images)[0]

    def class_scores(self) -> nn.Module:
        """The network's last layer without its bias, as the Inception score was published."""
        head = nn.utils.skip_init(nn.Linear, self.num_features, 1008, bias=False)
        head.weight = self.network.fc.weight
        return head


def hub_paths() -> list[Path]:
    """The paths at which torch hub may keep the weights."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    return [folder / name for name in FILE_NAMES]


def download(path: Path) -> None:
    """Bring torch-fidelity's weights file to ``path``; one attempt.

    Raises:
        AttnFlowError: no network.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with socket_timeout(DOWNLOAD_TIMEOUT):
            torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), progress=False)
    except OSError as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise AttnFlowError(
            f"the Inception weights cannot be downloaded from {URL_INCEPTION_V3} ({reason}); put "
            f"that file at {path}, name it with metrics.extractor.weights_path=PATH, or choose "
            "metrics=domain, which needs no download."
        ) from error


@contextmanager
def socket_timeout(seconds: float) -> Iterator[None]:
    """Give up on a silent network; torch hub itself would wait without end."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def read_network(path: Path) -> FeatureExtractorInceptionV3:
    """torch-fidelity's network with the weights of a file.

    Raises:
        AttnFlowError: the file is damaged or not the network's.
    """
    try:
        # torch-fidelity's own loading would run code that a file holds; this one refuses it.
        torch.load(path, map_location="cpu", weights_only=True)
        with torch.random.fork_rng(devices=[]):  # the network's first weights are random
            return FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path)
            )
    except Exception as error:  # of a damaged file, its reader can raise anything
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise AttnFlowError(
            f"the Inception weights {path}: expected torch-fidelity's {FILE_NAMES[0]}, got a "
            f"truncated, damaged or other file ({reason})."
        ) from error
