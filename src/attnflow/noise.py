"""Uniform noise as a pure function of who asks: a counter-based random generator.

Dequantization noise that depends on (seed, epoch, sample, position) alone, and on no
generator's state, is the same whatever the batch size, the number of ranks or the number
of interruptions; and it costs no synchronisation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["sample_keys", "uniform_noise"]

_WORD = 0xFFFFFFFF  # all arithmetic is modulo 2^32, held in int64
_GOLDEN = 0x9E3779B9


def sample_keys(seed: int, epoch: int, index: Tensor) -> Tensor:
    """One 32-bit key for each sample's ``index`` (B,) in its split: int64, (B,)."""
    salt = _mix(_mix(torch.tensor(seed & _WORD)) + _GOLDEN * (epoch + 1) & _WORD)
    return _mix((_mix(index.long() & _WORD) + salt.to(index.device)) & _WORD)


def uniform_noise(keys: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Noise in [0, 1), the same for the same key: float32, (B, *shape).

    The values are multiples of 2^-24, all of them float32 numbers below 1.
    """
    counter = torch.arange(math.prod(shape), device=keys.device) * _GOLDEN
    bits = _mix(_mix((keys[:, None] + counter) & _WORD) ^ keys[:, None])
    return ((bits >> 8).float() * 2.0**-24).view(-1, *shape)


def _mix(word: Tensor) -> Tensor:
    """A bijection of 32-bit words in which every output bit depends on every input bit.

    Two rounds of xor-shift and multiplication; the constants are those of Chris
    Wellons's "lowbias32" hash (2018).
    """
    word = word ^ (word >> 16)
    word = (word * 0x7FEB352D) & _WORD
    word = word ^ (word >> 15)
    word = (word * 0x846CA68B) & _WORD
    return word ^ (word >> 16)
