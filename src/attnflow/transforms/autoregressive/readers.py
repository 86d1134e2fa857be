"""What reads the parameters of an autoregressive block's map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from attnflow.nets.transformer import Cache

__all__ = ["GuidedReader", "Reader"]


class Reader(ABC):
    """Reads the parameters of a block's map from tokens, all at once or one after the other."""

    @abstractmethod
    def all(self, tokens: Tensor) -> Tensor:
        """Of the first n tokens (B, n, D): parameters (k, B, n, D), each from those before it."""

    @abstractmethod
    def cache(self, rows: int) -> Cache:
        """Room for what the net keeps of tokens, of ``rows`` samples."""

    @abstractmethod
    def one(self, tokens: Tensor, number: int, cache: Cache) -> Tensor:
        """Of token ``number``: (k, B, D).

        Args:
            tokens: (B, T, D), of which those before it are read.
            number: from 0.
            cache: of :meth:`cache`, from which the ones before it have been read in order.
        """


@dataclass(frozen=True)
class GuidedReader(Reader):
    """``cond + w_i (cond - uncond)`` of token i: classifier-free guidance, as TarFlow's.

    Attributes:
        conditional, unconditional: read with the condition, and without.
        weights: w, (T,).
    """

    conditional: Reader
    unconditional: Reader
    weights: Tensor

    def all(self, tokens: Tensor) -> Tensor:
        cond, uncond = self.conditional.all(tokens), self.unconditional.all(tokens)
        return cond + self.weights[: tokens.shape[1], None] * (cond - uncond)

    def cache(self, rows: int) -> Cache:
        return torch.stack([self.conditional.cache(rows), self.unconditional.cache(rows)])

    def one(self, tokens: Tensor, number: int, cache: Cache) -> Tensor:
        cond = self.conditional.one(tokens, number, cache[0])
        uncond = self.unconditional.one(tokens, number, cache[1])
        return cond + self.weights[number] * (cond - uncond)
