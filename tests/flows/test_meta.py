"""Every flow runs on the meta device, where no value exists.

A tensor that is made on another device fails there, and so does one that is read back: on a GPU,
either would stop the training step until the GPU has caught up.
"""

from __future__ import annotations

from functools import partial
from itertools import cycle, product
from random import Random

import pytest
import torch
from assembled import assemble, data_spec, names, random_batch

from attnflow.flows import Glow
from attnflow.models.image_model import Batch
from attnflow.training.module import FlowModule

SPEC = data_spec((3, 8, 8))
# Every attention at every position, with every combination of the other parts in turn.
PLACES = list(product(names("attention"), Glow.POSITIONS))
PARTS = list(product(names("coupling"), names("prior"), names("conditioning")))
Random(0).shuffle(PARTS)
CASES = [(*place, *parts) for place, parts in zip(PLACES, cycle(PARTS), strict=False)]


def module_of(choices: dict[str, str], options: dict[str, dict]) -> FlowModule:
    model = assemble(SPEC, choices, options)
    return FlowModule(model, partial(torch.optim.AdamW, lr=1e-3)).to("meta").train()


def meta_batch() -> Batch:
    return {name: values.to("meta") for name, values in random_batch(SPEC).items()}


def assert_gradients(module: FlowModule) -> None:
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.is_meta


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
@pytest.mark.parametrize(("attention", "position", "coupling", "prior", "conditioning"), CASES)
def test_log_prob_and_a_training_step_read_nothing_back(
    attention, position, coupling, prior, conditioning
) -> None:
    choices = {"attention": attention, "coupling": coupling, "prior": prior}
    module = module_of(
        choices | {"conditioning": conditioning}, {"placement": {"positions": position}}
    )
    batch = meta_batch()
    module.on_train_batch_start(batch, 1)
    loss = module.training_step(batch, 1)
    assert loss.is_meta
    loss.backward()
    assert_gradients(module)
    x = torch.empty(2, *SPEC.image_shape, device="meta", requires_grad=True)
    log_prob = module.model.flow.log_prob(x, module.model.context(batch))
    assert (log_prob.shape, log_prob.device.type) == ((2,), "meta")
    log_prob.sum().backward()
    assert x.grad.is_meta


@pytest.mark.parametrize("memory", ["checkpoint", "reversible"])
@pytest.mark.parametrize("dequantization", names("dequantization"))
def test_neither_does_less_memory_or_a_dequantization(memory, dequantization) -> None:
    choices = {"dequantization": dequantization, "attention": "itrans", "coupling": "affine"}
    module = module_of(choices, {"model": {"memory": memory}})
    module.bits_per_dim(meta_batch(), epoch=0).mean().backward()
    assert_gradients(module)


def test_what_is_read_back_fails_there() -> None:
    """So the tests above can fail."""
    with pytest.raises(RuntimeError, match="meta"):
        torch.ones(2, device="meta").sum().item()
    with pytest.raises(RuntimeError, match="meta"):
        torch.ones(2, device="meta") + torch.ones(2)
