"""What reads the parameters of an autoregressive block's map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from attnflow.nets.transformer import Cache
from attnflow.transforms.maps import ElementwiseMap

__all__ = ["GuidedReader", "Reader"]


class Reader(ABC):
    """Reads the parameters of a block's map from tokens, all at once or a few after the others."""

    @abstractmethod
    def all(self, tokens: Tensor) -> Tensor:
        """Of the first n tokens (B, n, D): parameters (k, B, n, D), each from those before it."""

    @abstractmethod
    def cache(self, rows: int) -> Cache:
        """Room for what the net keeps of tokens, of ``rows`` samples."""

    @abstractmethod
    def some(self, tokens: Tensor, places: slice, cache: Cache) -> Tensor:
        """Of the tokens at n places: (k, B, n, D), each from those before it.

        Args:
            tokens: (B, T, D).
            places: n in a row, from 0.
            cache: of :meth:`cache`, with which all before those places have been read.
        """


@dataclass(frozen=True)
class GuidedReader(Reader):
    """Goes beyond the parameters of token i by a weight w_i: the guidance of TarFlow.

    Attributes:
        conditional, unconditional: read with the condition, and without.
        weights: w, (T,).
        map: whose parameters are read.
    """

    conditional: Reader
    unconditional: Reader
    weights: Tensor
    map: ElementwiseMap

    def all(self, tokens: Tensor) -> Tensor:
        cond, uncond = self.conditional.all(tokens), self.unconditional.all(tokens)
        return self.map.beyond(cond, uncond, self.weights[: tokens.shape[1], None])

    def cache(self, rows: int) -> Cache:
        return torch.stack([self.conditional.cache(rows), self.unconditional.cache(rows)])

    def some(self, tokens: Tensor, places: slice, cache: Cache) -> Tensor:
        cond = self.conditional.some(tokens, places, cache[0])
        uncond = self.unconditional.some(tokens, places, cache[1])
        return self.map.beyond(cond, uncond, self.weights[places, None])
