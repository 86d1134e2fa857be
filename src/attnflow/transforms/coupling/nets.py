"""Networks that compute a coupling's parameters; they need not be invertible."""

from __future__ import annotations

from torch import Tensor, nn

from attnflow.context import Context, with_condition

__all__ = ["ConvNet"]


class ConvNet(nn.Sequential):
    """Glow's coupling net: 3x3 convolution, 1x1 convolution, 3x3 convolution from zero.

    Args:
        in_channels, out_channels: of the features (B, C, H, W).
        hidden_channels: width of the two inner layers.
        context_channels: width of the condition, read beside the features; 0 for none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 64,
        context_channels: int = 0,
    ) -> None:
        last = nn.Conv2d(hidden_channels, out_channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        super().__init__(
            nn.Conv2d(in_channels + context_channels, hidden_channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden_channels, hidden_channels, 1),
            nn.ReLU(inplace=True),
            last,
        )
        self.context_channels = context_channels

    def forward(self, features: Tensor, context: Context | None = None) -> Tensor:
        return super().forward(with_condition(features, context, self.context_channels))
