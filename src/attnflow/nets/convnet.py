"""Glow's convnet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnflow.context import Context, with_condition
from attnflow.errors import check_least
from attnflow.nets.dropout import SharedDropout
from attnflow.nets.layers import check_dropout, zero_conv

__all__ = ["ConvNet"]


class ConvNet(nn.Module):
    """Glow's coupling net: 3x3 convolution, 1x1 convolution, 3x3 convolution from zero.

    Kingma & Dhariwal, Glow (2018), section 4.

    Args:
        in_channels, out_channels: of the features, (B, C, H, W) before and after.
        hidden_channels: width of the two inner layers.
        dropout: share of the hidden values that training leaves out.
        context_channels: width of the condition, read beside the features; 0 for none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 64,
        dropout: float = 0.0,
        context_channels: int = 0,
    ) -> None:
        super().__init__()
        check_least("hidden_channels", hidden_channels, 1)
        check_dropout(dropout)
        self.context_channels = context_channels
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels + context_channels, hidden_channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden_channels, hidden_channels, 1),
            nn.ReLU(inplace=True),
            *([SharedDropout(dropout)] if dropout else []),
            zero_conv(hidden_channels, out_channels, 3),
        )

    def forward(self, features: Tensor, context: Context | None = None) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        features = with_condition(features, context, self.context_channels)
        # With channels last, the convolutions are matrix products (a tenth faster on a CPU). The
        # transforms outside keep channels first, so that their halves are contiguous.
        features = features.contiguous(memory_format=torch.channels_last)
        return self.layers(features).contiguous()
