"""One scale of a multi-scale flow."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnflow.context import Context
from attnflow.flows.memory import MEMORY, pieces
from attnflow.transforms.base import Composition, Transform, full_precision

__all__ = ["Level"]


class Level(nn.Module):
    """``x -> transforms -> (kept half, latent)``: one scale, ended by a split.

    The prior takes the half that leaves to a standard normal base, reading the half that is
    kept. The last level keeps nothing.

    Args:
        transforms: squeeze, steps and what follows them, on (C, H, W).
        prior: a transform of the latent, which finds the kept half in its context.
        kept_channels: how many channels go on to the next level; 0 at the last level.
        conditional_prior: whether the prior reads the flow's context beside the kept half.
        memory: what is kept of the transforms for their gradients, of
            :data:`~attnflow.flows.memory.MEMORY`.
    """

    def __init__(
        self,
        transforms: Composition,
        prior: Transform,
        kept_channels: int,
        conditional_prior: bool = True,
        memory: str = "none",
    ) -> None:
        super().__init__()
        self.transforms = transforms
        self.prior = prior
        self.kept_channels = kept_channels
        self.conditional_prior = conditional_prior
        self.memory = memory

    def forward(
        self, x: Tensor, context: Context | None = None
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        """x -> (kept half or None, latent, log_det); the latent's base is N(0, I)."""
        x, log_det = MEMORY[self.memory](pieces(self.transforms, self.memory), x, context)
        kept, latent = self._split(x)
        with full_precision(latent):
            latent, prior_log_det = self.prior(latent, self._prior_context(context, kept))
        return kept, latent, log_det + prior_log_det

    def inverse(
        self, kept: Tensor | None, latent: Tensor, context: Context | None = None
    ) -> Tensor:
        """(kept half or None, latent) -> x."""
        with full_precision(latent):
            latent = self.prior.inverse(latent, self._prior_context(context, kept))
        x = latent if kept is None else torch.cat([kept, latent], 1)
        return self.transforms.inverse(x, context)

    def initialize(self, x: Tensor, context: Context | None = None) -> Tensor | None:
        """Run the data-dependent initialisation; return the kept half."""
        kept, latent = self._split(self.transforms.initialize(x, context))
        self.prior.initialize(latent, self._prior_context(context, kept))
        return kept

    def blocks(self) -> list[Transform]:
        """The transforms that :meth:`forward` calls in turn."""
        return [*pieces(self.transforms, self.memory), self.prior]

    def _split(self, x: Tensor) -> tuple[Tensor | None, Tensor]:
        if not self.kept_channels:
            return None, x
        return x[:, : self.kept_channels], x[:, self.kept_channels :]

    def _prior_context(self, context: Context | None, kept: Tensor | None) -> Context | None:
        if not self.conditional_prior:
            context = None
        return context if kept is None else (context or Context()).extended(kept)
