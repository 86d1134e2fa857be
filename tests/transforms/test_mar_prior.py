"""The autoregressive prior: against a slow reference, and what sampling costs."""

from __future__ import annotations

import torch
from exactness import make_context, randomise
from torch import Tensor, nn
from torch.nn import functional as F

from attnflow.context import Context
from attnflow.transforms.maps import bounded
from attnflow.transforms.priors import MultiScaleAutoregressivePrior

SHAPE = (5, 4, 3)


def prior_and_context() -> tuple[MultiScaleAutoregressivePrior, Context]:
    prior = MultiScaleAutoregressivePrior(5, kept_channels=3, context_channels=2, hidden_channels=6)
    randomise(prior)
    return prior.double(), make_context(2, 3, SHAPE)


def reference_log_prob(prior: MultiScaleAutoregressivePrior, x: Tensor, context: Context) -> Tensor:
    """The sum of log N(x_c; mean_c, std_c), every channel read anew from those before it."""

    def convolved(conv: nn.Conv2d, c: int, x: Tensor) -> Tensor:
        weight, bias = conv.weight.chunk(5)[c], conv.bias.chunk(5)[c]
        return F.conv2d(x, weight, bias, padding=conv.kernel_size[0] // 2)

    total = torch.zeros(len(x), dtype=x.dtype)
    for c in range(x.shape[1]):
        state = prior.start + prior.condition(context.as_map(*x.shape[2:]))
        for j in range(c):
            state = state + F.silu(convolved(prior.encoder, j, x[:, j : j + 1]))
        features = F.silu(convolved(prior.hidden, c, F.silu(state)))
        mean, raw = convolved(prior.head, c, features).unbind(1)
        normal = torch.distributions.Normal(mean, bounded(raw, prior.map.largest_log_std).exp())
        total = total + normal.log_prob(x[:, c]).sum((1, 2))
    return total


def test_density_is_that_of_a_slow_reference() -> None:
    prior, context = prior_and_context()
    x = torch.randn(2, *SHAPE).double()
    z, log_det = prior(x, context)
    log_prob = torch.distributions.Normal(0, 1).log_prob(z).sum((1, 2, 3)) + log_det
    torch.testing.assert_close(log_prob, reference_log_prob(prior, x, context))


def test_no_channel_reads_itself_or_a_later_one() -> None:
    prior, context = prior_and_context()
    x = torch.randn(2, *SHAPE).double()
    z, _ = prior(x, context)
    for c in range(5):
        changed = x.clone()
        changed[:, c] += 1
        difference = (prior(changed, context)[0] - z).abs().amax((0, 2, 3))
        assert (difference[:c] == 0).all()
        assert (difference[c:] > 0).all()


def test_sampling_passes_over_each_channel_once(monkeypatch) -> None:
    prior, context = prior_and_context()
    convolved = []
    original = F.conv2d

    def counted(x: Tensor, weight: Tensor, *arguments, **options) -> Tensor:
        convolved.append(weight.shape[1])
        return original(x, weight, *arguments, **options)

    monkeypatch.setattr(F, "conv2d", counted)
    prior.inverse(torch.randn(2, *SHAPE).double(), context)
    # One for the kept half, then encoder, hidden and head of every channel, each over the
    # width of one channel.
    assert len(convolved) == 1 + 3 * 5
    assert max(convolved) == 6
