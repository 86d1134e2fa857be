"""train.py and eval.py: what a run leaves behind."""

from __future__ import annotations

import json
import math

import pytest
import torch
from conftest import SHORT, results, run_script
from run_folders import Outline
from torchvision.io import decode_image

import attnflow
from attnflow.cli import run as commands
from attnflow.data import DigitsDataModule
from attnflow.models.checkpoint import load_model, read_checkpoint
from attnflow.models.image_model import ImageModel
from attnflow.report.write import write_report


def test_a_run_leaves_everything_behind(train) -> None:
    run_dir = train()
    figures = results(run_dir)
    for name in ("val/bpd", "test/bpd", "params", "images_per_second", "wall_seconds"):
        assert math.isfinite(figures[name]), name
        assert figures[name] > 0, name
    assert figures["attention"] == "imap"
    assert figures["placement"] == "after_coupling"
    assert (run_dir / "checkpoints" / "best.ckpt").is_file()
    assert (run_dir / "checkpoints" / "last.ckpt").is_file()
    assert (run_dir / ".hydra" / "config.yaml").is_file()
    made_with = json.loads((run_dir / "environment.json").read_text())
    assert made_with["torch"] == torch.__version__.split("+")[0]
    assert "git_revision" in made_with
    header = (run_dir / "csv" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    for name in ("train/loss", "train/bpd", "val/bpd", "test/bpd", "images_per_second"):
        assert name in header
    for picture in ("epoch_0002.png", "final.png"):
        pixels = decode_image(str(run_dir / "samples" / picture))
        assert pixels.shape[0] == 3
        assert pixels.float().std() > 10  # not blank


def test_the_known_entropy_stands_beside_every_figure(train, command) -> None:
    run_dir = train("debug=fast", "data=longrange", "data.num_train=256")
    best = run_dir / "checkpoints" / "best.ckpt"
    evaluation = command("eval", f"ckpt_path={best}", "eval.pictures=[]")
    for directory in (run_dir, evaluation):
        figures = results(directory)
        assert figures["data/entropy_bpd"] == pytest.approx(2.408, abs=1e-3)
        assert figures["test/bpd"] > figures["data/entropy_bpd"]


def test_a_placement_of_nothing_is_told(train) -> None:
    told = (train("debug=fast", "placement=level_end", "attention=none") / "train.log").read_text()
    assert "placement=level_end has no effect with attention=none" in told
    run_dir = train("debug=fast", "model=tarflow", "attention=none")
    assert "has no effect" not in (run_dir / "train.log").read_text()
    run_dir = train("debug=fast", "placement=level_end")
    assert "has no effect" not in (run_dir / "train.log").read_text()


def test_training_learns(train) -> None:
    start = results(train("trainer.max_epochs=1", "trainer.limit_train_batches=1"))
    later = results(train("trainer.max_epochs=4", "trainer.limit_train_batches=1.0"))
    assert later["test/bpd"] < start["test/bpd"] - 0.3


def test_eval_repeats_the_figure_of_training(train, command) -> None:
    run_dir = train("attention=itrans")
    checkpoint = run_dir / "checkpoints" / "best.ckpt"
    evaluation = command("eval", f"ckpt_path={checkpoint}")
    assert results(evaluation)["test/bpd"] == pytest.approx(results(run_dir)["test/bpd"], abs=1e-6)
    assert "no averaged" not in (evaluation / "eval.log").read_text()
    for name in ("samples", "temperatures", "interpolation"):
        assert decode_image(str(evaluation / "samples" / f"{name}.png")).shape[0] == 3


def test_weights_without_an_average_are_evaluated_and_told(train, command) -> None:
    run_dir = train("callbacks.ema=null")
    checkpoint = run_dir / "checkpoints" / "best.ckpt"
    evaluation = command("eval", f"ckpt_path={checkpoint}", "eval.pictures=[]")
    told = (evaluation / "eval.log").read_text()
    assert f"checkpoint {checkpoint} holds no averaged (EMA) weights" in told
    assert results(evaluation)["test/bpd"] == pytest.approx(results(run_dir)["test/bpd"], abs=1e-6)


def test_test_figure_does_not_depend_on_the_batch_size(train, command) -> None:
    run_dir = train()
    checkpoint = run_dir / "checkpoints" / "best.ckpt"
    options = ["+data.global_batch_size=7", "eval.pictures=[]"]
    evaluation = command("eval", f"ckpt_path={checkpoint}", *options)
    assert results(evaluation)["test/bpd"] == pytest.approx(results(run_dir)["test/bpd"], abs=1e-5)


def test_checkpoints_hold_plain_values_and_rebuild_the_flow(train) -> None:
    run_dir = train()
    path = run_dir / "checkpoints" / "last.ckpt"
    raw = torch.load(path, weights_only=True)
    flow = attnflow.load(path).flow
    assert isinstance(flow, attnflow.Flow)
    assert not flow.training
    averaged = raw["state_dict"]
    current = raw["current_model_state"]
    name = "levels.0.transforms.step_0.actnorm.shift"
    torch.testing.assert_close(flow.state_dict()[name], averaged[f"model.flow.{name}"])
    assert not torch.equal(averaged[f"model.flow.{name}"], current[f"model.flow.{name}"])
    assert flow.sample(3).shape == (3, 1, 8, 8)


@pytest.mark.parametrize("attention", ["none", "imap", "itrans"])
def test_trained_weights_round_trip_in_float32(train, attention) -> None:
    run_dir = train(f"attention={attention}", "trainer.limit_train_batches=1.0")
    path = run_dir / "checkpoints" / "best.ckpt"
    model: ImageModel = load_model(read_checkpoint(path), path)
    images = DigitsDataModule().dataset("test").fields["image"]
    y, _ = model.dequantizer(images, torch.rand(images.shape))
    with torch.no_grad():
        back = model.flow.decode(model.flow.encode(y))
    assert (back - y).abs().max() < 1e-3


def test_more_loggers(train) -> None:
    run_dir = train("logger=tensorboard")
    assert list((run_dir / "tensorboard").rglob("events.out.tfevents*"))
    assert (run_dir / "csv" / "version_0" / "metrics.csv").is_file()


def test_sampling_grid_uses_the_averaged_weights(train, monkeypatch) -> None:
    """The grid of the last epoch is drawn from the weights that the checkpoint calls averaged."""
    drawn = []
    sample = ImageModel.sample

    def spy(self: ImageModel, *arguments, **options) -> torch.Tensor:
        drawn.append(self.flow.levels[0].prior.bias.detach().clone())
        return sample(self, *arguments, **options)

    monkeypatch.setattr(ImageModel, "sample", spy)
    run_dir = train("callbacks.pictures.every_n_epochs=1")
    saved = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)
    averaged = saved["state_dict"]["model.flow.levels.0.prior.bias"]
    torch.testing.assert_close(drawn[1], averaged)


@pytest.mark.slow
def test_sweep_over_attention_and_placement(tmp_path, monkeypatch) -> None:
    """In the folders that the config itself names, below the current directory."""
    monkeypatch.chdir(tmp_path)
    run_script(
        monkeypatch,
        "train",
        "-m",
        *SHORT,
        "trainer.max_epochs=1",
        "attention=imap,itrans",
        "placement=before_actnorm,after_actnorm,after_conv1x1,after_coupling",
    )
    (sweep,) = (tmp_path / "logs" / "train" / "multiruns").iterdir()
    jobs = [results(sweep / str(job)) for job in range(8)]
    assert len({(job["attention"], job["placement"]) for job in jobs}) == 8
    assert all(math.isfinite(job["test/bpd"]) for job in jobs)
    html = write_report(sweep).read_text()
    best = min(jobs, key=lambda job: job["val/bpd"])
    assert f"{best['attention']} · {best['placement']}" in html
    assert html.count("<img ") == 2 * 8  # samples and attention maps
    assert (sweep / "report" / "heatmap_val_bpd.svg").is_file()


@pytest.mark.slow
def test_a_run_lies_below_the_current_directory(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_script(monkeypatch, "train", *SHORT, "debug=fast")
    (run_dir,) = (tmp_path / "logs" / "train" / "runs").iterdir()
    assert results(run_dir)["test/bpd"] > 0


@pytest.mark.slow
def test_a_failing_job_does_not_stop_its_sweep(command, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(commands, "_failed_jobs", [])
    run_dir = tmp_path / "sweep"
    with pytest.raises(SystemExit) as stopped:
        command("train", "-m", *SHORT, "model.levels=9,1", run_dir=run_dir)
    assert stopped.value.code == 1
    error = (run_dir / "0" / "error.txt").read_text()
    assert "got 9" in error
    assert not (run_dir / "0" / "results.json").exists()
    assert math.isfinite(results(run_dir / "1")["test/bpd"])
    words = Outline(write_report(run_dir).read_text()).words
    assert "2 runs: 1 done, 1 failed" in words
    assert " ".join(error.split()) in words
