"""The gated residual convnet of Flow++."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attnflow.context import Context, with_condition
from attnflow.errors import AttnFlowError, check_least
from attnflow.nets.dropout import SharedDropout
from attnflow.nets.layers import check_dropout, zero_conv

__all__ = ["GatedResNet"]


class GatedResNet(nn.Module):
    """A gated residual convnet: ``h = h + a * sigmoid(b)``, (a, b) read from h by a block.

    The coupling net of Flow++ (Ho et al., 2019, section 3.3), block for block: two 3x3
    convolutions with dropout between them, a gate, and by choice self-attention over all
    positions. The last convolution starts at zero.

    Args:
        in_channels, out_channels: of the features, (B, C, H, W) before and after.
        hidden_channels: width of the residual stream.
        num_blocks: how many blocks.
        dropout: share of a block's hidden values that training leaves out.
        attention_heads: of the self-attention after each block; 0 for none.
        weight_norm: reparametrise the blocks' convolutions by direction and length.
        context_channels: width of the condition, read beside the features; 0 for none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 64,
        num_blocks: int = 2,
        dropout: float = 0.0,
        attention_heads: int = 0,
        weight_norm: bool = False,
        context_channels: int = 0,
    ) -> None:
        super().__init__()
        check_least("hidden_channels", hidden_channels, 1)
        check_least("num_blocks", num_blocks, 1)
        check_dropout(dropout)
        if attention_heads and hidden_channels % attention_heads:
            raise AttnFlowError(
                f"attention_heads: expected a divisor of hidden_channels ({hidden_channels}), or "
                f"0, got {attention_heads}."
            )
        self.context_channels = context_channels
        blocks: list[nn.Module] = []
        for _ in range(num_blocks):
            blocks.append(GatedBlock(hidden_channels, dropout, weight_norm))
            if attention_heads:
                blocks.append(SelfAttention(hidden_channels, attention_heads))
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels + context_channels, hidden_channels, 3, padding=1),
            *blocks,
            nn.SiLU(),
            zero_conv(hidden_channels, out_channels, 3),
        ).to(memory_format=torch.channels_last)

    def forward(self, features: Tensor, context: Context | None = None) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        read = with_condition(features, context, self.context_channels)
        return self.layers(read.contiguous(memory_format=torch.channels_last))


class GatedBlock(nn.Module):
    """``h + a * sigmoid(b)`` with (a, b) from two 3x3 convolutions of h (B, C, H, W)."""

    def __init__(self, channels: int, dropout: float, weight_norm: bool) -> None:
        super().__init__()
        reparametrised = nn.utils.parametrizations.weight_norm if weight_norm else _unchanged
        self.layers = nn.Sequential(
            nn.SiLU(),
            reparametrised(nn.Conv2d(channels, channels, 3, padding=1)),
            nn.SiLU(),
            SharedDropout(dropout),
            reparametrised(nn.Conv2d(channels, 2 * channels, 3, padding=1)),
        )

    def forward(self, h: Tensor) -> Tensor:
        value, gate = self.layers(h).chunk(2, 1)
        # Not nn.GLU, whose gradient leaves channels last: twice the time.
        return torch.addcmul(h, value, gate.sigmoid())


class SelfAttention(nn.Module):
    """``h + proj(softmax(q k / sqrt(d)) v)`` over all positions of h (B, C, H, W)."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_key_value = nn.Conv2d(channels, 3 * channels, 1)
        self.projection = nn.Conv2d(channels, channels, 1)

    def forward(self, h: Tensor) -> Tensor:
        heads = self.query_key_value(h).flatten(2).unflatten(1, (3 * self.num_heads, -1))
        query, key, value = heads.transpose(2, 3).chunk(3, 1)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return h + self.projection(mixed.transpose(2, 3).reshape_as(h))


def _unchanged(module: nn.Module) -> nn.Module:
    return module
