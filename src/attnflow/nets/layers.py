"""Layers that several nets and transforms are made of."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from attnflow.errors import ArgumentError

__all__ = ["check_dropout", "zero_conv", "zero_linear"]

Layer = TypeVar("Layer", bound=nn.Module)


def zero_conv(in_channels: int, out_channels: int, kernel_size: int, groups: int = 1) -> nn.Conv2d:
    """A convolution that gives zeros until it is trained, so that a coupling starts simple.

    Args:
        in_channels, out_channels, groups: as of :class:`torch.nn.Conv2d`.
        kernel_size: odd; the padding keeps the sides.
    """
    padding = kernel_size // 2
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, groups=groups)
    return _zeroed(conv)


def zero_linear(in_features: int, out_features: int) -> nn.Linear:
    """A linear layer that gives zeros until it is trained."""
    return _zeroed(nn.Linear(in_features, out_features))


def check_dropout(dropout: float, name: str = "dropout") -> None:
    """Raise :class:`ArgumentError` unless ``dropout`` is a share from 0 to below 1."""
    if not 0 <= dropout < 1:
        raise ArgumentError(name, "a share from 0 to below 1", dropout)


def _zeroed(layer: Layer) -> Layer:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
