"""Whole models, composed at random: their bits/dim are those of autograd's Jacobian.

``pytest tests/flows/test_random_models.py --models 500`` composes more of them.
"""

from __future__ import annotations

import math
from random import Random

import pytest
import torch
from assembled import assemble, data_spec, names, random_batch
from exactness import randomise
from torch import Tensor

from attnflow import AttnFlowError
from attnflow.flows import Glow, TarFlow
from attnflow.flows.memory import MEMORY
from attnflow.flows.parts import CONDITIONABLE
from attnflow.models.groups import MODEL_GROUPS
from attnflow.models.image_model import Batch, ImageModel
from attnflow.transforms.attention.masks import MASKS
from attnflow.transforms.attention.positions import POSITIONS
from attnflow.transforms.autoregressive import ORDERS

SHAPES = [(1, 4, 4), (2, 4, 4), (3, 4, 4), (1, 8, 4), (2, 6, 2)]
POSITIONS_OF_ALL = tuple(dict.fromkeys((*Glow.POSITIONS, *TarFlow.POSITIONS)))
# Of a causal net there is one option.
CHOICES = tuple(group for group in MODEL_GROUPS if group != "causal_net")
# Values of the options that a class of the group may have.
OPTIONS = {
    "model": {
        "levels": (1, 2),
        "steps": (1, 2),
        "blocks": (1, 2),
        "patch_size": (1, 2),
        "spatial_every": (0, 1, 2),
        "orders": (ORDERS[:2], ORDERS[2:]),
        "memory": tuple(MEMORY),
    },
    "attention": {
        "mask": MASKS,
        "kernel_size": (1, 3),
        "global_context": (False, True),
        "patch_size": (1, 2, 3),
        "num_heads": (1, 2, 3),
        "signed": (True, False),
        "position_embedding": POSITIONS,
        "key_channels": (None, 1, 3),
        "rank": (1, 3, 16),
    },
    "placement": {
        "positions": (*POSITIONS_OF_ALL, list(Glow.POSITIONS), list(TarFlow.POSITIONS)),
        "steps": ("all", "first", "last", "every 2"),
        "levels": ("all", [0]),
    },
    "coupling": {"num_components": (1, 3)},
    "map": {"num_components": (1, 3)},
    "causal_net": {"depth": (1, 2), "num_heads": (1, 2)},
    "coupling_net": {
        "num_blocks": (1, 2),
        "num_heads": (1, 2),
        "attention_heads": (0, 2),
        "weight_norm": (False, True),
    },
    "conditioning": {"conditions": (CONDITIONABLE, ["prior"], ["actnorm", "attention"])},
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("seed", range(metafunc.config.getoption("--models")))


def compose_at_random(seed: int) -> tuple[ImageModel, Batch]:
    """A model and a batch of its data; draws again where parts refuse one another."""
    random = Random(seed)
    for _ in range(100):
        spec = data_spec(random.choice(SHAPES))
        choices = {group: random.choice(names(group)) for group in CHOICES}
        if choices["dequantization"] == "gaussian":  # whose noise has no share in the density
            continue
        options = {
            group: {key: random.choice(values) for key, values in keys.items()}
            for group, keys in OPTIONS.items()
        }
        try:
            model = assemble(spec, choices, options)
        except AttnFlowError:
            continue
        print(f"{spec.image_shape}, {choices}, {options}")  # shown where the test fails
        return model, random_batch(spec)
    raise AssertionError("no parts that fit one another")


def latents(model: ImageModel, batch: Batch, noise: Tensor) -> Tensor:
    """All latents of every image, side by side: (B, D)."""
    y, _ = model.dequantizer(batch["image"], noise)
    return torch.cat([z.flatten(1) for z in model.flow.encode(y, model.context(batch))], 1)


def expected_bits(model: ImageModel, batch: Batch, noise: Tensor) -> tuple[Tensor, float]:
    """Bits per dimension of one image, by the Jacobian of its latents by the noise: (1,).

    Beside them stands how far rounding may move this determinant: by the Jacobian's condition.

    The noise is uniform, so ``log p(y) - log q(u | x) = log N(z) + log|det dz/dnoise| + D log
    num_bins``, whose last term is that of the units.
    """
    z = latents(model, batch, noise)
    matrix = torch.autograd.functional.jacobian(
        lambda flat: latents(model, batch, flat.view_as(noise))[0], noise.flatten()
    )
    log_det = torch.linalg.slogdet(matrix).logabsdet
    log_weight = torch.distributions.Normal(0, 1).log_prob(z).sum(1) + log_det
    rounding = torch.finfo(matrix.dtype).eps * float(torch.linalg.cond(matrix))
    return -log_weight / (z.shape[1] * math.log(2)), rounding


def test_bits_are_those_of_autograds_jacobian_and_latents_decode(seed) -> None:
    torch.manual_seed(seed)
    model, batch = compose_at_random(seed)
    randomise(model, 0.1)
    model = model.double().eval()
    noise = 0.1 + 0.8 * torch.rand(batch["image"].shape).double()
    bits = model(batch, noise)
    for row in range(len(noise)):
        one = {name: values[row : row + 1] for name, values in batch.items()}
        expected, rounding = expected_bits(model, one, noise[row : row + 1])
        tolerance = 1e-8 + rounding
        torch.testing.assert_close(bits[row : row + 1], expected, rtol=1e-8, atol=tolerance)
    y, _ = model.dequantizer(batch["image"], noise)
    context = model.context(batch)
    back = model.flow.decode(model.flow.encode(y, context), context)
    torch.testing.assert_close(back, y, rtol=1e-8, atol=1e-8)
