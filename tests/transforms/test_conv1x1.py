"""The two starts of the invertible 1x1 convolution."""

from __future__ import annotations

import pytest
import torch

from attnflow import AttnFlowError
from attnflow.transforms import InvertibleConv1x1


def test_rotation_keeps_lengths() -> None:
    x = torch.randn(2, 6, 3, 3)
    z, log_det = InvertibleConv1x1(6)(x)
    torch.testing.assert_close(z.norm(dim=1), x.norm(dim=1))
    torch.testing.assert_close(log_det, torch.zeros(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels", [1, 4, 5])
def test_permutation_moves_channels_whole(channels) -> None:
    x = torch.randn(2, channels, 3, 3)
    z, log_det = InvertibleConv1x1(channels, start="permutation")(x)
    order = [int((x == z[:, c : c + 1]).all((0, 2, 3)).nonzero()) for c in range(channels)]
    assert sorted(order) == list(range(channels))
    torch.testing.assert_close(log_det, torch.zeros(2))


def test_unknown_start_is_named() -> None:
    with pytest.raises(AttnFlowError, match="'identity'"):
        InvertibleConv1x1(4, start="identity")
