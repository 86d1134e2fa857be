"""A step folds its normalisation into the 1x1 convolution, and nothing can be told from outside."""

from __future__ import annotations

import pytest
import torch
from exactness import make_context, randomise
from torch import nn

from attnflow.transforms import ActNorm, Composition, InvertibleConv1x1, Step
from attnflow.transforms.step import unfolded

SHAPE = (4, 3, 5)


def both(context_channels: int = 0) -> tuple[Step, Composition]:
    """A step, and the same transforms one after the other."""
    transforms = {
        "actnorm": ActNorm(SHAPE[0], context_channels=context_channels),
        "conv1x1": InvertibleConv1x1(SHAPE[0], context_channels=context_channels),
    }
    step = Step(transforms).double()
    randomise(step)
    return step, Composition(transforms)


@pytest.mark.parametrize(("vector", "maps"), [(0, 0), (3, 0), (2, 3)])
def test_folding_changes_no_number_and_no_gradient(vector, maps) -> None:
    step, apart = both(vector + maps)
    context = make_context(vector, maps, SHAPE)
    x = torch.randn(2, *SHAPE).double()
    outcomes = []
    for run in (step, apart):
        z, log_det = run(x, context)
        loss = z.square().sum() - log_det.sum()
        gradients = torch.autograd.grad(loss, list(run.parameters()))
        outcomes.append((z, log_det, run.inverse(z, context), *gradients))
    for folded, expected in zip(*outcomes, strict=True):
        torch.testing.assert_close(folded, expected, rtol=1e-10, atol=1e-12)


def test_a_step_folds_unless_its_parts_are_watched(monkeypatch) -> None:
    step, _ = both()
    norms = []
    convolve = InvertibleConv1x1.forward

    def forward(self, x, context=None, norm=None):
        norms.append(norm)
        return convolve(self, x, context, norm)

    monkeypatch.setattr(InvertibleConv1x1, "forward", forward)
    x = torch.randn(2, *SHAPE).double()
    step(x)
    assert norms.pop() is not None
    seen = []
    step.actnorm.register_forward_hook(lambda *arguments: seen.append(arguments))
    with unfolded(nn.Sequential(step)):
        step(x)
    assert norms.pop() is None
    assert len(seen) == 1
    step(x)
    assert norms.pop() is not None


def test_a_subclass_of_the_normalisation_is_left_to_itself() -> None:
    class Twice(ActNorm):
        def forward(self, x, context=None):
            z, log_det = super().forward(x, context)
            return 2 * z, log_det + x[0].numel() * torch.tensor(2.0).log()

    step = Step({"actnorm": Twice(4), "conv1x1": InvertibleConv1x1(4)})
    x = torch.randn(2, *SHAPE)
    expected = step.conv1x1(step.actnorm(x)[0])[0]
    torch.testing.assert_close(step(x)[0], expected)
