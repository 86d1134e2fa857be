"""What several nets are made of."""

from __future__ import annotations

from torch import nn

from attnflow.errors import AttnFlowError, check_least


def zero_conv(in_channels: int, out_channels: int, kernel_size: int, groups: int = 1) -> nn.Conv2d:
    """A convolution that gives zeros until it is trained, so that a coupling starts simple."""
    padding = kernel_size // 2
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, groups=groups)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    return conv


def _check_widths(net: str, dropout: float, **widths: int) -> None:
    """Raise :class:`AttnFlowError` for a net without width, or one that drops out everything."""
    for name, value in widths.items():
        check_least(f"{net}'s {name}", value, 1)
    if not 0 <= dropout < 1:
        raise AttnFlowError(
            f"{net}'s dropout is {dropout}; a share of 0 or more and below 1 is accepted."
        )
