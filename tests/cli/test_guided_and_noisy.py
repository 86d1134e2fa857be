"""Guided samples and noisy images by the commands: options, figures and what they are called."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import TINY, results
from torchvision.io import decode_image

import attnflow
from attnflow.report.write import write_report

pytestmark = pytest.mark.slow

GUIDED = ["conditioning=class", "conditioning.condition_dropout=0.1", "conditioning.guidance=1"]


def test_noisy_images_have_a_figure_of_their_own_everywhere(command, capsys) -> None:
    """Trained, tested, gone on with, evaluated in inference mode, and reported."""
    trained = [*TINY, *GUIDED, "dequantization=gaussian", "attention=none"]
    run_dir = command("train", *trained)
    figures = results(run_dir)
    for name in ("val/noisy_bpd", "test/noisy_bpd", "test/noisy_bpd_std_err"):
        assert math.isfinite(figures[name])
    assert not {"val/bpd", "test/bpd"} & set(figures)
    header = (run_dir / "csv" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    assert {"train/noisy_bpd", "val/noisy_bpd"} <= set(header.split(","))
    assert (run_dir / "checkpoints" / "best.ckpt").is_file()
    capsys.readouterr()
    command("train", *trained, "resume=auto", run_dir=run_dir)
    assert "is finished after 1 epochs" in capsys.readouterr().out
    evaluation = command(
        "eval", f"ckpt_path={run_dir}", "eval.guidance=2.5", "eval.pictures=[samples,curves]"
    )
    found = results(evaluation)
    assert found["test/noisy_bpd"] == pytest.approx(figures["test/noisy_bpd"], abs=1.0)
    assert "test/noisy_bpd_shuffled_condition" in found
    assert not any(name.startswith("test/bpd") for name in found)
    assert decode_image(str(evaluation / "samples" / "curves.png")).float().std() > 10
    assert "noisy_bpd" in write_report(run_dir).read_text()


def test_samples_of_a_run_are_guided_as_its_config_says(command) -> None:
    run_dir = command("train", *TINY, *GUIDED, "attention=none")
    model = attnflow.load(run_dir)
    assert model.model.conditioning.guidance == 1
    assert math.isfinite(results(run_dir)["test/bpd"])
    assert model.sample(2, label=3, guidance=2.0, seed=0).shape == (2, 1, 8, 8)


def test_ranks_drop_the_conditions_that_one_drops(command) -> None:
    """Every rank trains on what stands for no condition, and ends with the weights of one."""
    options = [*TINY, *GUIDED, "conditioning.condition_dropout=0.5", "attention=none", "test=false"]
    options += ["coupling_net.dropout=0"]
    weights = {}
    for trainer in ("cpu", "ddp_cpu"):
        run_dir = command("train", *options, f"trainer={trainer}")
        checkpoint = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)
        weights[trainer] = checkpoint["state_dict"]
    assert weights["cpu"]["model.conditioning.nothing"].abs().min() > 0
    for name, weight in weights["cpu"].items():
        torch.testing.assert_close(weights["ddp_cpu"][name], weight, rtol=1e-3, atol=1e-4)
