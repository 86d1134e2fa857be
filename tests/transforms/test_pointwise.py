"""The pointwise map against the 1x1 convolution that it stands for."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from attnflow.transforms.pointwise import PointwiseLinear, pointwise


def test_pointwise_is_a_1x1_convolution() -> None:
    layer = PointwiseLinear(5, 3)
    x = torch.randn(2, 5, 4, 6)
    expected = F.conv2d(x, layer.weight[..., None, None], layer.bias)
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer(x.to(memory_format=torch.channels_last)), expected)


def test_a_matrix_for_each_sample() -> None:
    x, weight = torch.randn(2, 5, 4, 6), torch.randn(2, 3, 5)
    for b in range(2):
        torch.testing.assert_close(pointwise(x, weight)[b], pointwise(x[b : b + 1], weight[b])[0])
