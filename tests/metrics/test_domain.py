"""The classifier of a data set's own labels, and the distances on its features."""

from __future__ import annotations

import math

import pytest
import torch
from quality import figures_of, quality, quick_trainer, tiny_module

from attnflow.data import DigitsDataModule, LongRangeDataModule
from attnflow.errors import AttnFlowError
from attnflow.metrics import DomainClassifier, domain
from attnflow.metrics.images import to_uint8

pytestmark = pytest.mark.filterwarnings("ignore:metrics.num_samples")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where one classifier of digits lies for all tests."""
    folder = tmp_path_factory.mktemp("statistics")
    DomainClassifier().prepare(DigitsDataModule(), folder)
    return folder


@pytest.mark.slow
def test_the_classifier_knows_the_digits(folder) -> None:
    data, classifier = DigitsDataModule(), DomainClassifier()
    classifier.load(data, folder)
    test = data.dataset("test").fields
    guesses = classifier.logits(to_uint8(test["image"], 17)).argmax(1)
    assert (guesses == test["label"]).float().mean() > 0.97
    features = classifier(to_uint8(test["image"], 17))
    assert features.shape == (297, 64)
    assert features.square().mean() == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_it_is_trained_once_and_the_same_anew_where_the_file_is_damaged(
    folder, monkeypatch
) -> None:
    """Training it disturbs nothing, and repeats itself."""
    trained = []
    train = domain.train_classifier

    def spy(*arguments):
        trained.append(arguments)
        return train(*arguments)

    monkeypatch.setattr(domain, "train_classifier", spy)
    DomainClassifier().prepare(DigitsDataModule(), folder)
    assert not trained
    first, second = DomainClassifier(), DomainClassifier()
    first.load(DigitsDataModule(), folder)
    (path,) = folder.glob("*classifier*.pt")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(AttnFlowError, match=str(path)):
        DomainClassifier().load(DigitsDataModule(), folder)
    before = torch.get_rng_state()
    with torch.no_grad():
        DomainClassifier().prepare(DigitsDataModule(), folder)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(trained) == 1
    second.load(DigitsDataModule(), folder)
    assert first.fingerprint == second.fingerprint


@pytest.mark.slow
def test_a_run_logs_domain_distances_and_never_calls_them_fid(folder, tmp_path) -> None:
    measures = ("frechet", "kernel", "precision_recall")
    trainer = quick_trainer(tmp_path, quality(folder, DomainClassifier(), measures=measures))
    module, data = tiny_module(), DigitsDataModule()
    trainer.fit(module, data)
    assert math.isfinite(trainer.callback_metrics["val/fd_domain"])
    trainer.test(module, data, verbose=False)
    logged = set(trainer.callback_metrics)
    figures = {"fd_domain", "fd_domain_floor", "kd_domain"}
    figures |= {"precision_domain", "recall_domain"}
    assert logged == {f"test/{name}" for name in figures | {"bpd", "bpd_std_err"}}


@pytest.mark.slow
def test_distances_on_its_features_tell_good_samples_from_bad(
    folder, tmp_path, monkeypatch
) -> None:
    data, module = DigitsDataModule(), tiny_module()
    images = data.dataset("train").fields["image"]
    figures = {}
    for name, source in {
        "real": images,
        "shuffled": images.flatten(2).flip(2).view_as(images),
    }.items():
        monkeypatch.setattr(
            module.model,
            "sample",
            lambda n, *_, source=source, **__: source[torch.randperm(1200)[:n]],
        )
        callback = quality(folder, DomainClassifier(), num_samples=400)
        figures[name] = figures_of(tmp_path, callback, module, data)
    for name in ("test/fd_domain", "test/kd_domain"):
        assert figures["real"][name] < figures["shuffled"][name] / 3


def test_data_without_labels_is_refused_before_training(tmp_path) -> None:
    trainer = quick_trainer(tmp_path, quality(tmp_path, DomainClassifier()))
    with pytest.raises(AttnFlowError, match=r"a data set with labels .*, got LongRangeDataModule"):
        trainer.fit(tiny_module(), LongRangeDataModule(size=8))
    assert trainer.global_step == 0


def test_the_inception_score_needs_inception(tmp_path) -> None:
    with pytest.raises(
        AttnFlowError, match=r"expected one of frechet, kernel.*, got 'inception_score'"
    ):
        quality(tmp_path, DomainClassifier(), measures=["inception_score"])
