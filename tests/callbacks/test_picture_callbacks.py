"""Pictures that training draws: as files, and in the loggers that show them."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torchvision.io import decode_image

from attnflow.loggers.pictures import log_picture


def images(folder) -> dict:
    """The pictures in TensorBoard's files: by name, their steps."""
    events = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    return {name: [e.step for e in events.Images(name)] for name in events.Tags()["images"]}


def test_loggers_that_cannot_show_a_picture_are_passed_over(tmp_path) -> None:
    board = TensorBoardLogger(tmp_path, name="board")
    log_picture([CSVLogger(tmp_path), board], "samples", torch.rand(3, 8, 9), 7)
    board.finalize("success")
    assert images(board.log_dir) == {"samples": [7]}


@pytest.mark.parametrize("attention", ["imap", "itrans", "none"])
def test_training_draws_samples_and_attention(train, attention) -> None:
    run_dir = train(
        f"attention={attention}",
        "logger=tensorboard",
        "trainer.limit_train_batches=1",
        "callbacks.pictures.every_n_epochs=1",
        "callbacks.attention.every_n_epochs=2",
    )
    drawn = images(next((run_dir / "tensorboard").glob("version_*")))
    assert drawn.pop("samples") == [1, 2]
    assert drawn.pop("final") == [2]  # steps, as the others
    expected = {} if attention == "none" else {"attention": [2]}
    assert drawn == expected
    files = sorted(path.name for path in (run_dir / "samples").glob("attention_*"))
    assert files == (["attention_epoch_0002.png"] if expected else [])
    for name in files:
        assert decode_image(str(run_dir / "samples" / name)).float().std() > 10
