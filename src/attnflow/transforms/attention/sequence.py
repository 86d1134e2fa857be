"""Several attentions at one place of a flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attnflow.errors import AttnFlowError
from attnflow.transforms.base import Composition, Transform
from attnflow.utils.arguments import call, check_kind

__all__ = ["AttentionSequence"]


class AttentionSequence(Composition):
    """``z = f_n(... f_1(x))`` of attentions that stand at the same place; their log_dets add up.

    Args:
        num_channels: C of the images.
        image_size: (H, W) of the feature map.
        attentions: what makes each, by name, in forward order; called as ``attention(num_channels,
            image_size=, parity=, context_channels=)``.
        parity: 0 or 1, of all of them: they read the same half where they have the same mask.
        context_channels: width of the condition that they may read; 0 for none.
    """

    def __init__(
        self,
        num_channels: int,
        image_size: Sequence[int],
        attentions: Mapping[str, Callable[..., Transform]],
        parity: int = 0,
        context_channels: int = 0,
    ) -> None:
        if not isinstance(attentions, Mapping) or not attentions:
            raise AttnFlowError(f"attentions: expected one or more by name, got {attentions!r}.")
        place = {"image_size": image_size, "parity": parity, "context_channels": context_channels}
        made: dict[str, Transform] = {}
        for name, make in attentions.items():
            made[name] = call(f"attentions.{name}", make, num_channels, **place)
            check_kind(f"attentions.{name}", made[name], Transform)
        super().__init__(made)
