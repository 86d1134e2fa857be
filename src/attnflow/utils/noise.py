"""Noise as a pure function of who asks: a counter-based random generator.

Dequantization noise, and the latents of samples, that depend on (seed, epoch, sample, position)
alone, and on no generator's state, are the same whatever the batch size, the number of ranks or
the number of interruptions; and they cost no synchronisation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["NO_EPOCH", "normal_noise", "other_keys", "sample_keys", "uniform_noise"]

# Evaluation noise belongs to no epoch, so that bits/dim of two epochs can be compared.
NO_EPOCH = -1

_WORD = 0xFFFFFFFF  # all arithmetic is modulo 2^32, held in int64
_GOLDEN = 0x9E3779B9
_OTHER = 0x85EBCA6B


def sample_keys(seed: int, epoch: int, index: Tensor) -> Tensor:
    """One 32-bit key for each sample's ``index`` (B,) in its split: int64, (B,)."""
    salt = _mix(_mix(torch.tensor(seed & _WORD)) + _GOLDEN * (epoch + 1) & _WORD)
    return _mix((_mix(index.long() & _WORD) + salt.to(index.device)) & _WORD)


def other_keys(keys: Tensor) -> Tensor:
    """Further keys of the same samples, for noise of another purpose: int64, (B,)."""
    return _mix(keys ^ _OTHER)


def uniform_noise(keys: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Noise in [0, 1), the same for the same key: float32, (B, *shape).

    The values are multiples of 2^-24, all of them float32 numbers below 1.
    """
    return ((_words(keys, shape) >> 8).float() * 2.0**-24).view(-1, *shape)


def normal_noise(
    keys: Tensor, shape: tuple[int, ...], dtype: torch.dtype = torch.float32
) -> Tensor:
    """Standard normal noise, the same for the same key: (B, *shape).

    By Box and Muller (1958), from two words a value; no value is further from 0 than 6.7.
    """
    radius = (-2 * ((_words(keys, shape).to(dtype) + 0.5) * 2.0**-32).log()).sqrt()
    angle = _words(_mix(keys ^ _GOLDEN), shape).to(dtype) * (2 * math.pi * 2.0**-32)
    return (radius * angle.cos()).view(-1, *shape)


def _words(keys: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A 32-bit word for every key and position: int64, (B, positions)."""
    counter = torch.arange(math.prod(shape), device=keys.device) * _GOLDEN
    return _mix(_mix((keys[:, None] + counter) & _WORD) ^ keys[:, None])


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
