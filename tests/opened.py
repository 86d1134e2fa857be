"""Small models as ``attnflow explore`` opens them, with test images in memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import torch
from drawn import model_of

from attnflow.data.base import ImageDataModule
from attnflow.data.samples import TensorImages
from attnflow.explore.opened import Opened
from attnflow.models.loaded import LoadedModel

TESTS = 12


def opened_of(
    shape=(1, 8, 8), attention=None, conditioning=None, missing="", name="tiny", seed=0
) -> Opened:
    """A model with random weights, of 17 grey values, and 12 test images.

    Args:
        missing: why the test images are not here; "" where they are.
    """
    torch.manual_seed(seed)
    model = model_of(shape, attention, conditioning, scale=0.05)
    choices = {"data": "drawn", "attention": "none" if attention is None else "some"}
    choices |= {"prior": "of another flow"}
    part = {"_target_": str(attention)}
    config = {"attention": part, "model": {"attention": part}, "prior": {"_target_": "another"}}
    spec = {"image_shape": list(shape), "num_bins": 17, "num_classes": 3}
    spec |= {"condition_shape": list(shape), "condition_bins": 17}
    config |= {"data": {}, "seed": 0, "choices": choices}
    held = {"config": config, "data_spec": spec}

    def read_data(*_) -> ImageDataModule:
        if missing:
            raise ValueError(missing)
        generator = torch.Generator().manual_seed(1)
        images = torch.randint(17, (TESTS, *shape), generator=generator, dtype=torch.uint8)
        tests = TensorImages(images, label=torch.arange(TESTS) % 3, condition=images.flip(0))
        return cast(ImageDataModule, SimpleNamespace(dataset=lambda split: tests))

    return Opened(name, LoadedModel(model, 0, choices), held, 10, read_data, 8)
