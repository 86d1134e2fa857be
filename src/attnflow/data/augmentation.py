"""Random changes of training images that are a function of the seed, the epoch and the sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.data import default_collate
from torchvision import tv_tensors

from attnflow.data.samples import Samples
from attnflow.errors import AttnFlowError
from attnflow.utils.noise import sample_keys

__all__ = ["Augmented", "check_augment"]

# The entries of a sample that a transform changes, all in the same way.
PICTURES = ("image", "condition")


class Augmented(Samples):
    """Applies torchvision v2 transforms to each sample, image and condition alike.

    Each sample's draw has its own seed, so it does not depend on the batch, the worker or an
    interruption. Samples are asked for as
    :class:`~attnflow.data.order.NumberedEpochSampler` numbers them.

    Args:
        dataset: of samples, each a dict.
        transforms: torchvision v2 transforms that keep an image's shape, in order.
        seed: of the draws.
    """

    def __init__(self, dataset: Samples, transforms: Sequence[Callable], seed: int = 0) -> None:
        self.dataset, self.seed = dataset, seed
        self.transforms = tuple(transforms)

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
        pictures: dict[str, Tensor] = {
            name: tv_tensors.Image(sample[name]) for name in PICTURES if name in sample
        }
        for number, transform in enumerate(self.transforms):
            pictures = transformed(f"data.augment[{number}]", transform, pictures)
        changed = {n: p.as_subclass(Tensor) for n, p in pictures.items()}
        for name, picture in changed.items():
            if picture.shape != sample[name].shape:
                raise AttnFlowError(
                    f"data.augment: expected transforms that keep the shape of the {name}, "
                    f"{tuple(sample[name].shape)}, got {tuple(picture.shape)}."
                )
            if picture.dtype != sample[name].dtype:
                raise AttnFlowError(
                    f"data.augment: expected transforms that keep whole numbers, got {name} of "
                    f"{picture.dtype}."
                )
        return sample | changed


def check_augment(augment: object) -> tuple[Callable, ...]:
    """The transforms; raises :class:`AttnFlowError` for what is no list of such."""
    if not isinstance(augment, Sequence) or isinstance(augment, str):
        raise AttnFlowError(
            f"data.augment: expected a list of torchvision v2 transforms, [] for none, got "
            f"{augment!r}."
        )
    for number, transform in enumerate(augment):
        if not callable(transform) or isinstance(transform, type):
            raise AttnFlowError(
                f"data.augment[{number}]: expected a torchvision v2 transform, got {transform!r}."
            )
    return tuple(augment)


def transformed(name: str, transform: Callable, pictures: dict[str, Tensor]) -> dict[str, Tensor]:
    """Apply a transform to the pictures of a sample.

    Raises:
        AttnFlowError: it fails, or makes something else.
    """
    kind = getattr(transform, "__name__", type(transform).__name__)
    try:
        made = transform(pictures)
    except Exception as error:  # a user's own, which may raise anything
        shapes = " and ".join(f"an {n} of {tuple(p.shape)}" for n, p in pictures.items())
        reason = " ".join(str(error).split()) or type(error).__name__
        raise AttnFlowError(
            f"{name}: expected a transform of single images of whole numbers, got {kind}, which "
            f"fails at {shapes}: {reason}."
        ) from error
    if not isinstance(made, dict) or not all(isinstance(p, Tensor) for p in made.values()):
        raise AttnFlowError(
            f"{name}: expected a transform that takes a dict of images to one, got {kind}, which "
            f"makes a {type(made).__name__}."
        )
    return made
