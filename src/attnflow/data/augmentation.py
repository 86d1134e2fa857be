"""Random changes of training images that are a function of the seed, the epoch and the sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2

from attnflow.errors import AttnFlowError
from attnflow.noise import sample_keys

__all__ = ["Augmented"]

# What a transform changes, the same way in all of them; labels and indices stay.
PICTURES = ("image", "condition")


class Augmented(Dataset):
    """Applies torchvision v2 transforms to each sample, image and condition alike.

    Each sample's draw has its own seed, so it does not depend on the batch, the worker or an
    interruption. Samples are asked for as
    :class:`~attnflow.data.order.NumberedEpochSampler` numbers them.

    Args:
        dataset: of samples, each a dict.
        transforms: torchvision v2 transforms that keep an image's shape, in order.
        seed: of the draws.
    """

    def __init__(self, dataset: Dataset, transforms: Sequence[Callable], seed: int = 0) -> None:
        self.dataset, self.seed = dataset, seed
        self.transform = v2.Compose(list(transforms))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """A batch of epoch * len + index numbers."""
        with torch.random.fork_rng(devices=[]):
            samples = [self[number] for number in numbers]
        return default_collate(samples)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        epoch, index = divmod(number, len(self.dataset))
        sample = self.dataset[index]
        # torch.manual_seed would seed the accelerators too, whose noise is none of our business.
        torch.default_generator.manual_seed(int(sample_keys(self.seed, epoch, torch.tensor(index))))
        pictures = {n: tv_tensors.Image(sample[n]) for n in PICTURES if n in sample}
        changed = {n: p.as_subclass(Tensor) for n, p in self.transform(pictures).items()}
        for name, picture in changed.items():
            if picture.shape != sample[name].shape:
                raise AttnFlowError(
                    f"data.augment makes an {name} of shape {tuple(picture.shape)} out of one of "
                    f"{tuple(sample[name].shape)}; transforms that keep the shape are accepted."
                )
            if picture.dtype != sample[name].dtype:
                raise AttnFlowError(
                    f"data.augment makes an {name} of {picture.dtype}; transforms that keep "
                    "whole numbers are accepted."
                )
        return sample | changed
