"""The average of the weights: its ramp, and that it takes training's own path."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from attnflow.callbacks.averaging import exponential_average
from attnflow.errors import AttnFlowError


def test_average_follows_its_ramp_and_then_its_decay():
    """Against the recursion, written out for one number."""
    model = nn.Linear(1, 1, bias=False).double()
    average = AveragedModel(model, multi_avg_fn=exponential_average(0.9))
    expected = None
    for step in range(200):
        value = float(torch.sin(torch.tensor(step * 0.1)))
        nn.init.constant_(model.weight, value)
        average.update_parameters(model)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = value if expected is None else decay * expected + (1 - decay) * value
        assert average.module.weight.item() == pytest.approx(expected, abs=1e-6)


def test_average_forgets_the_start_within_tens_of_steps():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1e6)
    average = AveragedModel(model, multi_avg_fn=exponential_average(0.99))
    average.update_parameters(model)
    nn.init.constant_(model.weight, 1.0)
    for _ in range(50):
        average.update_parameters(model)
    assert average.module.weight.item() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2.0])
def test_decay_out_of_range_is_refused(decay):
    with pytest.raises(AttnFlowError, match=f"decay: expected 0 or more and below 1, got {decay}"):
        exponential_average(decay)
