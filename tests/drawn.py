"""Models and batches to draw pictures of."""

from __future__ import annotations

from functools import partial

import torch
from exactness import randomise

from attnflow import Glow
from attnflow.models.conditioning import ClassConditioning, ImageConditioning
from attnflow.models.dequantization import UniformDequantizer
from attnflow.models.image_model import ImageModel
from attnflow.nets import ConvNet
from attnflow.spec import DataSpec
from attnflow.transforms import AffineCoupling

COUPLING = partial(AffineCoupling, net=partial(ConvNet, hidden_channels=4))
KINDS = {"class": ClassConditioning, "image": ImageConditioning}


def model_of(shape, attention, conditioning=None, scale=0.3, **options) -> ImageModel:
    spec = DataSpec(shape, 17, num_classes=3, condition_shape=shape, condition_bins=17)
    condition = KINDS[conditioning](spec, context_channels=3) if conditioning else None
    width = {"context_channels": 3} if conditioning else {}
    flow = Glow(shape, steps=2, coupling=COUPLING, attention=attention, **width, **options)
    model = ImageModel(flow, UniformDequantizer(17, shape), condition)
    randomise(model, scale)
    return model.eval()


def batch_of(shape, size: int) -> dict[str, torch.Tensor]:
    images = torch.randint(17, (size, *shape))
    return {"image": images, "label": torch.arange(size) % 3, "condition": images.flip(0)}
