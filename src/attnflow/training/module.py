"""The LightningModule: loss, metrics, optimizer and scheduler."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from lightning import LightningModule
from lightning.pytorch.utilities import GradClipAlgorithmType
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric

from attnflow.errors import AttnFlowError, check_least
from attnflow.metrics.standard_error import StandardError
from attnflow.models.checkpoint import KEY
from attnflow.models.image_model import Batch, ImageModel
from attnflow.training.accumulation import back_to_window_start, window_size
from attnflow.training.declared import datamodule_of
from attnflow.training.fusing import SCALED, fusing
from attnflow.training.progress import Progress, planned_steps
from attnflow.utils.arguments import call, check_kind
from attnflow.utils.distributed import all_reduce_sum, world_size
from attnflow.utils.noise import NO_EPOCH, other_keys, sample_keys, uniform_noise
from attnflow.utils.quiet import quiet_warnings

__all__ = ["FlowModule"]


class FlowModule(LightningModule):
    """Maximum likelihood training of an :class:`~attnflow.models.image_model.ImageModel`.

    Dequantization noise and dropped conditions are a function of (seed, epoch, sample) and dropout
    of (seed, epoch, batch, row), so nothing depends on the number of ranks or an interruption.

    Logs ``train/``, ``val/`` and ``test/`` with the model's metric: ``bpd``, or ``noisy_bpd`` where
    Gaussian noise takes the place of dequantization.

    Args:
        model: what is trained.
        optimizer: called with the parameters.
        scheduler: called with the optimizer and ``total_steps=``; None for a constant rate.
        seed: of the noise.
        importance_samples: noise samples of the importance-weighted bound that testing gives
            as ``test/bpd_importance``; 1 for none.
        description: plain values that make a checkpoint enough alone
            (:func:`attnflow.models.checkpoint.describe`).
        progress: of the training that is gone on with; the schedule starts at its step.
    """

    def __init__(
        self,
        model: ImageModel,
        optimizer: Callable[..., Optimizer] | None = None,
        scheduler: Callable[..., LRScheduler] | None = None,
        seed: int = 0,
        importance_samples: int = 1,
        description: Mapping | None = None,
        progress: Progress | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        self.seed, self.description = seed, description
        self.progress = progress or Progress()
        check_least("importance_samples", importance_samples, 1)
        self.importance_samples = importance_samples
        self.val_bpd, self.test_bpd, self.test_importance = (MeanMetric() for _ in range(3))
        self.test_bpd_std_err = StandardError()
        self._norm: Tensor | None = None  # of this step's gradients, once it is known

    def bits_per_dim(self, batch: Batch, epoch: int = NO_EPOCH) -> Tensor:
        """Bits per dimension of every image, with this epoch's noise: (B,)."""
        return self.model(batch, self.noise(batch, epoch), self.dropped(batch, epoch))

    def noise(self, batch: Batch, epoch: int) -> Tensor:
        """Uniform noise of the images' shape, each sample's own."""
        keys = sample_keys(self.seed, epoch, batch["index"])
        return uniform_noise(keys, self.model.image_shape)

    def dropped(self, batch: Batch, epoch: int) -> Tensor | None:
        """Which samples have no condition in an epoch, bool (B,); None where none is dropped."""
        conditioning = self.model.conditioning
        if epoch == NO_EPOCH or conditioning is None or not conditioning.condition_dropout:
            return None
        keys = other_keys(sample_keys(self.seed, epoch, batch["index"]))
        return uniform_noise(keys, ()) < conditioning.condition_dropout

    def on_fit_start(self) -> None:
        """Data-dependent initialisation, unless a checkpoint has already brought its result.

        From the first global batch, whose statistics are added up over the ranks, so that all
        start from the same weights.
        """
        if self.model.flow.initialized:
            return
        batch = next(iter(datamodule_of(self.trainer).train_dataloader()))
        batch = self.transfer_batch_to_device(batch, self.device, 0)
        self.model.initialize(batch, self.noise(batch, NO_EPOCH))

    def on_train_start(self) -> None:
        self.first_batch = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        self._norm = None
        if batch_idx == 0:
            self.first_batch = 0
        # One seed on all ranks, as SharedDropout tells the ranks apart.
        torch.manual_seed(int(sample_keys(self.seed, self.current_epoch, torch.tensor(batch_idx))))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.bits_per_dim(batch, self.current_epoch).mean()
        size = len(batch["image"])
        whole = all_reduce_sum(loss.detach()) / world_size()  # of the global batch
        self.log("train/loss", whole, batch_size=size)
        name = f"train/{self.model.metric}"
        self.log(name, whole, on_step=True, on_epoch=False, prog_bar=True, batch_size=size)
        return loss

    def backward(self, loss: Tensor) -> None:
        """Add to the gradients of a step, which are those of the mean over its batches.

        Lightning divides by ``accumulate_grad_batches``, however few an epoch's last step has.
        """
        per_step, batches = self.trainer.accumulate_grad_batches, self.trainer.num_training_batches
        size = window_size(self.trainer.fit_loop.batch_idx, per_step, batches, self.first_batch)
        super().backward(loss if size == per_step else loss * (per_step / size))

    def gradient_norm(self) -> Tensor:
        """The Euclidean norm of all of a step's gradients together, before clipping: a scalar.

        Found once a step, before the optimizer takes it, for callbacks and clipping alike.
        """
        if self._norm is None:
            self._norm = get_total_norm([p.grad for p in self.parameters() if p.grad is not None])
        return self._norm

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the norm that is known already; leave other ways of clipping to Lightning."""
        by_norm = gradient_clip_algorithm in (None, GradClipAlgorithmType.NORM)
        if gradient_clip_val and by_norm and self.trainer.precision != SCALED:
            clip_grads_with_norm_(self.parameters(), gradient_clip_val, self.gradient_norm())
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.val_bpd.update(self.bits_per_dim(batch))
        size = len(batch["image"])
        self.log(f"val/{self.model.metric}", self.val_bpd, prog_bar=True, batch_size=size)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        bits, size = self.bits_per_dim(batch), len(batch["image"])
        name = f"test/{self.model.metric}"
        self.test_bpd.update(bits)
        self.log(name, self.test_bpd, batch_size=size)
        self.test_bpd_std_err.update(bits)
        self.log(f"{name}_std_err", self.test_bpd_std_err, batch_size=size)
        if self.importance_samples > 1:
            # The first noise sample is the one-sample bound's own.
            noises = [self.noise(batch, NO_EPOCH - k) for k in range(self.importance_samples)]
            self.test_importance.update(self.model.importance_bits_per_dim(batch, noises))
            self.log(f"{name}_importance", self.test_importance, batch_size=size)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        options = fusing(self.make_optimizer, self.device, str(self.trainer.precision))
        try:
            optimizer = call("optimizer", self.make_optimizer, self.parameters(), **options)
            check_kind("optimizer", optimizer, Optimizer)
        except AttnFlowError:
            raise
        except (TypeError, ValueError, RuntimeError) as error:  # options that torch refuses
            said = str(error).rstrip(".")
            raise AttnFlowError(f"the optimizer refuses its options: {said}.") from error
        if self.make_scheduler is None:
            return optimizer
        total_steps = planned_steps(self.trainer, self.progress)
        scheduler = call("scheduler", self.make_scheduler, optimizer, total_steps=total_steps)
        check_kind("scheduler", scheduler, LRScheduler)
        with quiet_warnings():  # of steps that the optimizer has made in an earlier leg
            for _ in range(self.progress.step):
                scheduler.step()
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        # An order of images is that of a number of them, which a resumed training keeps.
        data = datamodule_of(self.trainer)
        told = {"train_images": len(data.dataset("train")), "splits": data.splits_read}
        checkpoint[KEY] = {**(self.description or {}), **told}
        if "loops" in checkpoint:
            back_to_window_start(checkpoint, self.trainer.accumulate_grad_batches)
