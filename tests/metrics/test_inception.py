"""FID, KID and the Inception score against torch-fidelity's own, on random local weights."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch
import torch_fidelity
from quality import quality, quick_trainer, tiny_module
from torch import nn
from torchmetrics.image import InceptionScore
from torchvision.io import write_png

from attnflow.data import DigitsDataModule, PhotosDataModule, TensorImages
from attnflow.errors import AttnFlowError
from attnflow.metrics import Inception, measures
from attnflow.metrics.inception import FILE_NAMES, hub_paths, read_network
from attnflow.spec import DataSpec

pytestmark = pytest.mark.filterwarnings("ignore:metrics.num_samples")
IMAGES = 12


@pytest.fixture
def weights(inception_weights: Path) -> Path:
    """Random weights of the real architecture."""
    return inception_weights


def measured(
    cache_dir: Path, weights: Path, real: torch.Tensor, drawn: torch.Tensor
) -> dict[str, float]:
    """The callback's figures where the model's samples are ``drawn``, 8-bit images."""

    class Data:
        spec = DataSpec(image_shape=tuple(real.shape[1:]), num_bins=256)

        def dataset(self, split: str) -> TensorImages:
            return TensorImages(real)

    left = list(drawn)

    def sample(n: int, *_, **__) -> torch.Tensor:
        return torch.stack([left.pop(0) for _ in range(n)])

    callback = quality(
        cache_dir,
        Inception(str(weights)),
        num_samples=len(drawn),
        measures=["frechet", "kernel", "inception_score", "precision_recall"],
        subset_size=len(drawn),
    )
    callback.extractor.prepare(Data(), cache_dir)
    callback.extractor.load(Data(), cache_dir)
    trainer = SimpleNamespace(world_size=1, datamodule=Data())
    model = SimpleNamespace(sample=sample, conditioning=None, num_bins=256)
    module = SimpleNamespace(model=model, device=torch.device("cpu"))
    return callback.measure(trainer, module, "test", len(drawn), callback.measures)


def write_folder(folder: Path, images: torch.Tensor) -> str:
    """Every image as a PNG file, in order."""
    folder.mkdir()
    for number, image in enumerate(images):
        write_png(image, str(folder / f"{number:04d}.png"))
    return str(folder)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:std")  # of a score in one part
def test_figures_equal_those_of_torch_fidelity(tmp_path, weights, monkeypatch) -> None:
    """On the same two folders of PNG files, the same weights."""
    monkeypatch.setattr(measures, "InceptionScore", partial(InceptionScore, splits=1))
    images = PhotosDataModule(size=32).dataset("test").fields["image"]
    images = images[:: len(images) // (2 * IMAGES)][: 2 * IMAGES]
    real, drawn = images[::2], images[1::2].flip(2)
    ours = measured(tmp_path / "cache", weights, real, drawn)
    theirs = torch_fidelity.calculate_metrics(
        input1=write_folder(tmp_path / "drawn", drawn),
        input2=write_folder(tmp_path / "real", real),
        feature_extractor_weights_path=str(weights),
        fid=True,
        kid=True,
        isc=True,
        prc=True,
        feature_extractor="inception-v3-compat",
        kid_subset_size=IMAGES,
        kid_subsets=2,
        isc_splits=1,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
        batch_size=IMAGES,
    )
    assert theirs["frechet_inception_distance"] > 0
    assert ours["fid"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-3)
    # A subset of all images leaves nothing to chance.
    mean = theirs["kernel_inception_distance_mean"]
    assert ours["kid_mean"] == pytest.approx(mean, rel=1e-2)
    for name in ("precision", "recall"):
        assert 0 < theirs[name] <= 1
        assert ours[name] == pytest.approx(theirs[name])
    # In one part, as here, the score depends on no order.
    score = theirs["inception_score_mean"]
    assert score > 1.05
    assert ours["inception_score"] == pytest.approx(score, rel=1e-5)


def test_grey_images_are_repeated_in_three_channels(tmp_path, weights) -> None:
    extractor = Inception(str(weights))
    extractor.load(DigitsDataModule(), tmp_path)
    grey = torch.arange(2 * 64, dtype=torch.uint8).view(2, 1, 8, 8)
    features = extractor(grey)
    assert features.shape == (2, 2048)
    torch.testing.assert_close(features, extractor(grey.repeat(1, 3, 1, 1)))


def test_the_network_is_loaded_without_disturbing_the_generator(weights) -> None:
    before = torch.get_rng_state()
    network = read_network(weights)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(p.requires_grad for p in network.parameters())
    assert not network.training


@pytest.fixture
def no_network(monkeypatch, tmp_path) -> list[str]:
    """An empty torch hub folder and a network that is down; holds the addresses asked for."""
    asked = []

    def fail(url: str, *_, **__) -> None:
        asked.append(url)
        raise URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    return asked


def test_no_file_and_no_network_is_one_sentence_before_any_step(tmp_path, no_network) -> None:
    trainer = quick_trainer(tmp_path, quality(tmp_path / "cache", Inception()))
    module = tiny_module()
    with pytest.raises(AttnFlowError) as failure:
        trainer.fit(module, DigitsDataModule())
    assert trainer.global_step == 0
    assert not module.model.flow.initialized
    assert len(no_network) == 1
    for part in (str(hub_paths()[0]), FILE_NAMES[0], "weights_path", "Name or service not known"):
        assert part in str(failure.value)


@pytest.mark.parametrize("name", FILE_NAMES)
def test_the_hub_folder_is_looked_at_first(weights, no_network, name) -> None:
    folder = hub_paths()[0].parent
    folder.mkdir(parents=True)
    shutil.copy(weights, folder / name)
    extractor = Inception()
    extractor.prepare(DigitsDataModule(), folder)
    extractor.load(DigitsDataModule(), folder)
    assert not no_network
    assert extractor.fingerprint


def test_a_download_happens_once_and_is_used(weights, no_network, monkeypatch, tmp_path) -> None:
    fetched = []

    def fetch(url: str, path: str, **_) -> None:
        fetched.append(url)
        shutil.copy(weights, path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    for _ in range(2):
        extractor = Inception()
        extractor.prepare(DigitsDataModule(), tmp_path)
        extractor.load(DigitsDataModule(), tmp_path)
    assert len(fetched) == 1


def test_a_missing_file_is_named(tmp_path) -> None:
    path = tmp_path / "nowhere.pth"
    with pytest.raises(AttnFlowError, match=f"{path}, which does not exist"):
        Inception(str(path)).prepare(DigitsDataModule(), tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "text", "another network", "a list"])
def test_a_damaged_file_is_named(tmp_path, weights, damage) -> None:
    path = tmp_path / "weights.pth"
    if damage == "truncated":
        path.write_bytes(weights.read_bytes()[:100_000])
    elif damage == "text":
        path.write_text("<html>404</html>")
    elif damage == "another network":
        torch.save(nn.Linear(2, 2).state_dict(), path)
    else:
        torch.save([1, 2], path)
    extractor = Inception(str(path))
    trainer = quick_trainer(tmp_path, quality(tmp_path / "cache", extractor))
    with pytest.raises(AttnFlowError, match=f"weights {path}: expected"):
        trainer.fit(tiny_module(), DigitsDataModule())
    assert trainer.global_step == 0


def test_images_of_two_channels_are_refused(tmp_path, weights) -> None:
    data = SimpleNamespace(spec=DataSpec(image_shape=(2, 8, 8), num_bins=16))
    with pytest.raises(AttnFlowError, match="1 or 3 channels, got 2"):
        Inception(str(weights)).prepare(data, tmp_path)


@pytest.mark.parametrize("content", [b"root:x:0:0:root:/root:/bin/sh\n", b"", b"\x80\x04]"])
def test_any_other_file_is_named(tmp_path, content) -> None:
    (tmp_path / "passwd").write_bytes(content)
    with pytest.raises(AttnFlowError, match="passwd: expected"):
        read_network(tmp_path / "passwd")
