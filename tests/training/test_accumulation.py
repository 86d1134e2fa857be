"""A step's gradient is the mean over the batches that it has, wherever its window is cut."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import SGD

from attnflow.cli.trainer import build_trainer
from attnflow.data import DigitsDataModule
from attnflow.flows.glow import Glow
from attnflow.models.dequantization import UniformDequantizer
from attnflow.models.image_model import Batch, ImageModel
from attnflow.nets import ConvNet
from attnflow.training.accumulation import window_size
from attnflow.training.module import FlowModule
from attnflow.transforms import AffineCoupling


@pytest.mark.parametrize(
    ("batch_idx", "first", "size"),
    [(0, 0, 4), (3, 0, 4), (7, 0, 4), (8, 0, 2), (9, 0, 2), (6, 6, 2), (8, 6, 2), (9, 9, 1)],
)
def test_windows_of_ten_batches(batch_idx, first, size) -> None:
    assert window_size(batch_idx, 4, 10, first) == size


class Module(FlowModule):
    """In float64, with steps of plain gradient descent."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        coupling = partial(AffineCoupling, net=partial(ConvNet, hidden_channels=4))
        model = ImageModel(
            Glow((1, 8, 8), 1, 1, coupling=coupling), UniformDequantizer(17, (1, 8, 8))
        )
        super().__init__(model.double(), partial(SGD, lr=0.01), description={})

    def noise(self, batch: Batch, epoch: int) -> Tensor:
        return super().noise(batch, epoch).double()


class Recorder(Callback):
    """Compares each step's gradients with those of one batch made of its batches."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.sizes: list[int] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.batches.append(batch)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        names = ("image", "index")
        whole = {name: torch.cat([batch[name] for batch in self.batches]) for name in names}
        parameters = [p for p in pl_module.parameters() if p.grad is not None]
        loss = pl_module.bits_per_dim(whole, trainer.current_epoch).mean()
        expected = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-12)
        self.sizes.append(len(self.batches))
        self.batches = []


def fit(callback: Callback, ckpt_path: str | None = None, **arguments: object) -> Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    trainer = build_trainer(
        callbacks=[callback],
        accelerator="cpu",
        use_distributed_sampler=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        limit_val_batches=1,
        **quiet,
        **arguments,
    )
    data = DigitsDataModule(global_batch_size=16)
    trainer.fit(Module(), data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({"limit_train_batches": 10, "max_epochs": 2}, [4, 4, 2, 4, 4, 2]),
        ({"limit_train_batches": 10, "max_epochs": 1, "val_check_interval": 3}, [4, 4, 2]),
        ({"limit_train_batches": 3, "max_epochs": 2}, [3, 3]),
        ({"limit_train_batches": 10, "max_steps": 4}, [4, 4, 2, 4]),
    ],
)
def test_gradients_are_those_of_the_mean_over_a_steps_batches(options, sizes) -> None:
    recorder = Recorder()
    fit(recorder, accumulate_grad_batches=4, **options)
    assert recorder.sizes == sizes


class Saver(Callback):
    """Saves when a batch is done, as a signal has it done."""

    def __init__(self, path: Path, batches: int) -> None:
        self.path, self.batches = path, batches
        self.sizes: list[int] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.fit_loop.total_batch_idx + 1 == self.batches:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("batches", [4, 6, 9, 10, 13])
def test_training_goes_on_from_within_a_window(tmp_path, batches) -> None:
    """With the window's first batch: its gradients are in no checkpoint."""
    options = {"accumulate_grad_batches": 4, "limit_train_batches": 10, "max_epochs": 2}
    path = tmp_path / "middle.ckpt"
    whole = fit(Saver(path, batches), **options)
    recorder = Recorder()
    resumed = fit(recorder, ckpt_path=str(path), **options)
    assert (
        recorder.sizes == [4, 4, 2, 4, 4, 2][torch.load(path, weights_only=True)["global_step"] :]
    )
    assert resumed.global_step == whole.global_step == 6
    pairs = zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_training_goes_on_with_other_windows(tmp_path) -> None:
    path = tmp_path / "middle.ckpt"
    options = {"limit_train_batches": 10, "max_epochs": 1}
    fit(Saver(path, 6), accumulate_grad_batches=3, **options)
    recorder = Recorder()
    fit(recorder, ckpt_path=str(path), accumulate_grad_batches=4, **options)
    assert recorder.sizes == [2, 2]
