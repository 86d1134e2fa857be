"""The callback: what it logs, draws, keeps and refuses."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT
from hydra.utils import instantiate
from lightning.pytorch.callbacks import EMAWeightAveraging
from omegaconf import OmegaConf
from processes import two_processes
from quality import PixelFeatures, figures_of, quality, quick_trainer, tiny_module
from torch.nn import functional as F
from torchmetrics.image import FrechetInceptionDistance

from attnflow.callbacks import image_quality as callback_file
from attnflow.data import DigitsDataModule, TensorImages
from attnflow.errors import AttnFlowError
from attnflow.metrics import DomainClassifier
from attnflow.metrics.images import batches, fetch, to_extract, to_uint8
from attnflow.metrics.measures import Given
from attnflow.models.conditioning import Conditioning
from attnflow.models.image_model import ImageModel
from attnflow.spec import DataSpec

pytestmark = pytest.mark.filterwarnings("ignore:metrics.num_samples")


def test_images_become_bytes_as_the_reference_code_reads_them() -> None:
    levels = torch.arange(17).view(1, 1, 1, 17)
    expected = [round(level * 255 / 16) for level in range(17)]
    assert to_uint8(levels, 17).flatten().tolist() == expected
    every = torch.arange(256).view(1, 1, 16, 16)
    assert torch.equal(to_uint8(every, 256), every.to(torch.uint8))
    assert to_uint8(torch.tensor([0, 1]), 2).tolist() == [0, 255]


def test_batches_hold_every_number_once() -> None:
    assert list(batches(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batches([], 2)) == []


def test_training_and_testing_log_their_figures(tmp_path) -> None:
    callback = quality(tmp_path / "cache")
    trainer = quick_trainer(tmp_path, callback)
    module, data = tiny_module(), DigitsDataModule()
    trainer.fit(module, data)
    assert math.isfinite(trainer.callback_metrics["val/fd"])
    assert "val/kd_mean" not in trainer.callback_metrics
    trainer.test(module, data, verbose=False)
    for name in ("test/fd", "test/kd_mean", "test/kd_std", "test/bpd"):
        assert math.isfinite(trainer.callback_metrics[name]), name


def test_validation_counts_every_n_epochs_and_at_the_end(tmp_path, monkeypatch) -> None:
    epochs = []
    monkeypatch.setattr(
        callback_file.ImageQuality,
        "measure",
        lambda self, trainer, *_: epochs.append(trainer.current_epoch + 1) or {},
    )
    callback = quality(tmp_path, every_n_epochs=2)
    trainer = quick_trainer(tmp_path, callback, max_epochs=5, num_sanity_val_steps=1)
    trainer.fit(tiny_module(), DigitsDataModule())
    assert epochs == [2, 4, 5]


def test_figures_tell_good_samples_from_bad(tmp_path, monkeypatch) -> None:
    """Real images of another split are nearer to the test images than noise is."""
    images = DigitsDataModule().dataset("train").fields["image"]
    module, data = tiny_module(), DigitsDataModule()
    figures = {}
    for name, source in {"real": images, "noise": torch.randint(17, images.shape)}.items():

        def sample(n, batch=None, generator=None, numbers=None, source=source):
            rows = torch.randint(len(source), (n,), generator=generator.manual_seed(numbers[0]))
            return source[rows]

        monkeypatch.setattr(module.model, "sample", sample)
        figures[name] = figures_of(tmp_path, quality(tmp_path / "cache"), module, data)
    assert figures["real"]["test/fd"] < figures["noise"]["test/fd"] / 5
    assert figures["real"]["test/kd_mean"] < figures["noise"]["test/kd_mean"] / 5


def test_the_second_run_reads_the_kept_statistics(tmp_path) -> None:
    module, data = tiny_module(), DigitsDataModule()
    first, second, other = PixelFeatures(), PixelFeatures(), PixelFeatures(seed=1)
    figures = figures_of(tmp_path, quality(tmp_path / "cache", first), module, data)
    assert first.images_seen == 297 + 1200 + 100
    assert figures_of(tmp_path, quality(tmp_path / "cache", second), module, data) == figures
    assert second.images_seen == 100
    figures_of(tmp_path, quality(tmp_path / "cache", other), module, data)
    assert other.images_seen == 297 + 1200 + 100
    assert len(list((tmp_path / "cache").glob("*_test_*.pt"))) == 2
    assert not list((tmp_path / "cache").glob("*.tmp"))


@pytest.mark.parametrize("damage", ["truncated", "text", "another file", "another shape"])
def test_damaged_statistics_are_computed_anew(tmp_path, damage) -> None:
    module, data = tiny_module(), DigitsDataModule()
    figures = figures_of(tmp_path, quality(tmp_path / "cache"), module, data)
    (path,) = (tmp_path / "cache").glob("*_test_*.pt")
    whole = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "text":
        path.write_text("no statistics")
    elif damage == "another file":
        torch.save([1, 2], path)
    else:
        torch.save(torch.load(path, weights_only=True) | {"total": torch.zeros(3)}, path)
    extractor = PixelFeatures()
    assert figures_of(tmp_path, quality(tmp_path / "cache", extractor), module, data) == figures
    assert extractor.images_seen == 297 + 100
    assert torch.load(path, weights_only=True)["total"].shape == (8,)


def test_two_data_sets_of_one_spec_keep_apart(tmp_path) -> None:
    class Inverted(DigitsDataModule):
        """Digits in white, under the same class name."""

        def read(self, split):
            dataset = super().read(split)
            dataset.fields["image"] = 16 - dataset.fields["image"]
            return dataset

    Inverted.__qualname__ = Inverted.__name__ = "DigitsDataModule"
    Inverted.__module__ = DigitsDataModule.__module__
    for data in (DigitsDataModule(), Inverted()):
        figures_of(tmp_path, quality(tmp_path / "cache"), tiny_module(), data)
    assert len(list((tmp_path / "cache").glob("*_test_*.pt"))) == 2


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("count", [100, 7])
def test_ranks_share_the_samples_without_repeating_one(
    tmp_path, monkeypatch, world_size, count
) -> None:
    module, data, callback = tiny_module(), DigitsDataModule(), quality(tmp_path, batch_size=2)

    def drawn(ranks: int) -> list[tuple]:
        trainer = SimpleNamespace(world_size=ranks, datamodule=data)
        rows = []
        for rank in range(ranks):
            monkeypatch.setattr(callback_file, "rank", lambda rank=rank: rank)
            share = torch.cat([i for _, i in callback.samples(trainer, module, "test", count)])
            assert abs(len(share) - count / ranks) <= 2
            rows += [tuple(image.flatten().tolist()) for image in share]
        return sorted(rows)

    alone = drawn(1)
    assert len(alone) == count
    assert len(set(alone)) == count
    assert drawn(world_size) == alone
    monkeypatch.setattr(callback, "batch_size", 5)
    assert drawn(1) == alone


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path) -> None:
    """Once with new statistics of the real images, and once with those just kept."""

    def figures(callbacks, **options) -> dict[str, float]:
        torch.manual_seed(0)  # the same weights, in a module that no trainer holds yet
        return figures_of(tmp_path, callbacks, tiny_module(), DigitsDataModule(), **options)

    # As many kept images as a subset has leave the kernel distance no choice.
    options = {"max_kept": 100, "subset_size": 100}
    options["measures"] = ("frechet", "kernel", "inception_score", "precision_recall")
    alone = figures(quality(tmp_path / "one", **options))
    new, kept = PixelFeatures(), PixelFeatures(prefix="kept_")
    pair = [quality(tmp_path / "two", extractor, **options) for extractor in (new, kept)]
    together = figures(pair, **two_processes())
    for name in ("fd", "kd_mean", "precision", "recall"):
        assert together[f"test/{name}"] == pytest.approx(alone[f"test/{name}"], rel=1e-4)
        assert together[f"test/kept_{name}"] == together[f"test/{name}"]
    # Its ten parts are drawn from samples in another order.
    assert together["test/score"] == pytest.approx(alone["test/score"], rel=0.05)
    assert len(list((tmp_path / "two").glob("*_test_*.pt"))) == 1


class LabelRecorder(Conditioning):
    """A conditioning that reads nothing, and keeps the labels that samples are drawn for."""

    def __init__(self) -> None:
        super().__init__("label", context_channels=1, conditions=())
        self.seen = []

    def forward(self, batch):
        if "image" not in batch:  # sampling, not likelihoods
            self.seen.append(batch["label"])


def test_every_real_condition_is_drawn_equally_often(tmp_path) -> None:
    recorder, data = LabelRecorder(), DigitsDataModule()
    figures_of(tmp_path, quality(tmp_path, num_samples=2 * 297), tiny_module(recorder), data)
    labels = data.dataset("test").fields["label"]
    drawn = torch.cat(recorder.seen)
    assert torch.equal(torch.bincount(drawn), 2 * torch.bincount(labels))


def test_few_samples_of_a_sorted_data_set_have_all_its_conditions(tmp_path) -> None:
    recorder, data = LabelRecorder(), DigitsDataModule()
    fields = data.dataset("test").fields
    order = fields["label"].argsort()
    data.datasets["test"] = TensorImages(**{name: rows[order] for name, rows in fields.items()})
    figures_of(tmp_path, quality(tmp_path, num_samples=100), tiny_module(recorder), data)
    assert len(torch.cat(recorder.seen).unique()) == 10


def test_samples_for_the_wrong_classes_are_told_from_those_for_the_right_ones(
    tmp_path, monkeypatch
) -> None:
    """The figure of a conditional model is that of samples with the real images' conditions."""
    data = DigitsDataModule()
    ones = data.dataset("test").fields["label"] <= 1
    fields = {name: rows[ones] for name, rows in data.dataset("test").fields.items()}
    data.datasets["test"] = TensorImages(**fields)
    train = data.dataset("train").fields
    module = tiny_module(LabelRecorder())
    figures = {}
    for name, shift in {"right": 0, "wrong": 4}.items():

        def sample(n, batch, shift=shift, **_):
            rows = [train["image"][train["label"] == label + shift][0] for label in batch["label"]]
            return torch.stack(rows)

        monkeypatch.setattr(module.model, "sample", sample)
        monkeypatch.setattr(module, "test_step", lambda *_: None)
        options = {"subset_size": 10, "measures": ("frechet",)}
        figures |= {name: figures_of(tmp_path, quality(tmp_path, **options), module, data)}
    assert figures["right"]["test/fd"] < figures["wrong"]["test/fd"]


def test_padding_is_no_part_of_a_figure(tmp_path) -> None:
    """Padded images give the figures of the images without their padding."""

    class Padded(DigitsDataModule):
        @property
        def spec(self) -> DataSpec:
            whole = super().spec
            return replace(whole, image_shape=(1, 12, 12), unpadded_shape=whole.image_shape)

        def read(self, split):
            dataset = super().read(split)
            dataset.fields["image"] = F.pad(dataset.fields["image"], (2,) * 4)
            return dataset

    plain, padded = DigitsDataModule(), Padded()
    samples = plain.dataset("train").fields["image"][:100]
    figures = []
    for data, images in ((plain, samples), (padded, F.pad(samples, (2,) * 4, value=9))):
        module, left = tiny_module(), list(images)
        module.test_step = lambda *_: None
        module.model.sample = lambda n, *_, left=left, **__: torch.stack(
            [left.pop(0) for _ in range(n)]
        )
        cache = tmp_path / type(data).__name__
        figures.append(figures_of(tmp_path, quality(cache), module, data))
    assert figures[0] == figures[1]


def test_precision_and_recall_tell_which_way_samples_fail(tmp_path, monkeypatch) -> None:
    """Copies of one real image are precise and recall little; noise is neither."""
    module, data = tiny_module(), DigitsDataModule()
    real = data.dataset("test").fields["image"]
    sources = {"real": real, "one": real[:1], "noise": torch.randint(17, real.shape)}
    figures = {}
    for name, source in sources.items():

        def sample(n, batch=None, generator=None, numbers=None, source=source):
            rows = torch.randint(len(source), (n,), generator=generator.manual_seed(numbers[0]))
            return source[rows]

        monkeypatch.setattr(module.model, "sample", sample)
        callback = quality(tmp_path, num_samples=200, measures=("precision_recall",))
        figures[name] = figures_of(tmp_path, callback, module, data)
    assert figures["real"]["test/precision"] == 1
    assert figures["real"]["test/recall"] > 0.8
    assert figures["one"]["test/precision"] == 1
    assert figures["one"]["test/recall"] < 0.05
    assert figures["noise"]["test/precision"] < 0.5


def test_validation_samples_with_the_averaged_weights(tmp_path, monkeypatch) -> None:
    drawn = []
    sample = ImageModel.sample

    def spy(self, *arguments, **options):
        drawn.append(self.flow.levels[0].prior.bias.detach().clone())
        return sample(self, *arguments, **options)

    monkeypatch.setattr(ImageModel, "sample", spy)
    averaging = EMAWeightAveraging(decay=0.9, use_buffers=False)
    module = tiny_module()
    trainer = quick_trainer(tmp_path, quality(tmp_path), averaging)
    current = []
    monkeypatch.setattr(
        module,
        "on_train_batch_end",
        lambda *_: current.append(module.model.flow.levels[0].prior.bias.detach().clone()),
    )
    trainer.fit(module, DigitsDataModule())
    # At its end the averaging leaves the average in the module.
    torch.testing.assert_close(drawn[-1], module.model.flow.levels[0].prior.bias.detach())
    assert not torch.equal(drawn[-1], current[-1])


def test_measuring_leaves_the_global_generator_alone(tmp_path) -> None:
    callback, data, module = quality(tmp_path), DigitsDataModule(), tiny_module()
    trainer = SimpleNamespace(world_size=1, datamodule=data)
    before = torch.get_rng_state()
    callback.measure(trainer, module, "test", 100, ("frechet", "kernel"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_samples": 1, "measures": ("frechet",)}, "num_samples: expected 2 or more, got 1."),
        ({"num_samples_val": 1}, "num_samples_val: expected 2 or more, got 1."),
        ({"max_kept": 1, "measures": ("frechet",)}, "max_kept: expected 2 or more, got 1."),
        ({"subset_size": 1}, "subset_size: expected 2 or more, got 1."),
        (
            {"max_kept": 3, "measures": ("precision_recall",)},
            "max_kept: expected 4 or more, got 3.",
        ),
        ({"every_n_epochs": 0}, "every_n_epochs: expected 1 or more, got 0."),
        ({"batch_size": 0}, "batch_size: expected 1 or more, got 0."),
        (
            {"measures": ("fid",)},
            "one of frechet, kernel, inception_score, precision_recall, got 'fid'",
        ),
    ],
)
def test_bad_arguments_are_named(tmp_path, options, sentence) -> None:
    with pytest.raises(AttnFlowError, match=sentence):
        quality(tmp_path, **options)


@pytest.mark.parametrize(("option", "classifier"), [("inception", False), ("domain", True)])
def test_configs_make_the_callback(tmp_path, option, classifier) -> None:
    config = OmegaConf.load(ROOT / "conf" / "metrics" / f"{option}.yaml")
    run = OmegaConf.create({"paths": {"data_dir": str(tmp_path)}, "seed": 3, "metrics": config})
    callback = instantiate(run.metrics)
    assert isinstance(callback.extractor, DomainClassifier) == classifier
    assert callback.cache_dir == tmp_path / "reference_statistics"
    assert callback.seed == 3


def test_few_samples_are_warned_of(tmp_path) -> None:
    with pytest.warns(UserWarning, match="num_samples_val is 5, fewer than the 8 features"):
        quality(tmp_path, num_samples_val=5)


@pytest.mark.parametrize(
    ("options", "size"),
    [({"num_samples": 400}, 297), ({"num_samples": 99}, 99), ({"max_kept": 50}, 50)],
)
def test_a_subset_has_no_more_images_than_there_are(tmp_path, options, size, caplog) -> None:
    callback = quality(tmp_path, **{"num_samples": 400, "subset_size": 298, **options})
    trainer = quick_trainer(tmp_path, callback)
    trainer.test(tiny_module(), DigitsDataModule(), verbose=False)
    assert callback.subset_size == size
    told = [r.getMessage() for r in caplog.records if "subset_size" in r.getMessage()]
    assert told[0].startswith(f"metrics.subset_size is {size} instead of 298, as there are no more")
    assert len(told) == 1


def test_the_distance_of_real_images_stands_beside_that_of_samples(tmp_path) -> None:
    """It is what torchmetrics gives the two splits' features, and far below bad samples'."""
    callback = quality(tmp_path, measures=("frechet",))
    trainer = quick_trainer(tmp_path, callback)
    trainer.test(tiny_module(), DigitsDataModule(), verbose=False)
    figures = trainer.callback_metrics
    data, metric = DigitsDataModule(), FrechetInceptionDistance(Given(8))
    for split, real in (("train", False), ("test", True)):
        images = fetch(data.dataset(split), range(len(data.dataset(split))))["image"]
        metric.update(callback.extractor(to_extract(images, data.spec)), real=real)
    assert float(figures["test/fd_floor"]) == pytest.approx(float(metric.compute()), rel=1e-3)
    assert figures["test/fd_floor"] < figures["test/fd"]
    callback = quality(tmp_path, measures=("frechet",), test_split="train")
    trainer = quick_trainer(tmp_path, callback)
    trainer.test(tiny_module(), DigitsDataModule(), verbose=False)
    assert "test/fd_floor" not in trainer.callback_metrics


def test_a_trainer_without_a_datamodule_is_refused(tmp_path) -> None:
    trainer = quick_trainer(tmp_path, quality(tmp_path))
    with pytest.raises(AttnFlowError, match="datamodule"):
        trainer.test(tiny_module(), DigitsDataModule().test_dataloader(), verbose=False)
