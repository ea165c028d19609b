"""Random numbers as a function of a key and of the coordinates in a tensor, without any state.

The number at (i, j, k) is the same whatever the tensor's size and strides: padding a batch for the sake of
another run leaves the numbers of its own rows and tokens as they are. Integer arithmetic alone, so that every
device gets the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

BITS_OF_KEY = 62
"""Keys are non-negative and fit in int64, and in the seed of any generator."""

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


def mixed(key: int, number: int = 0) -> int:
    """Another key, of a key and a number: splitmix64 (Steele, Lea and Flood 2014)."""
    z = (key * 0xD1342543DE82EF95 + (number + 1) * _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return (z ^ (z >> 31)) >> (64 - BITS_OF_KEY)


def uniform(keys: Sequence[int], shape: Sequence[int], device: torch.device) -> Tensor:
    """One tensor per key, uniform in [0, 1) in steps of 2^-24: (keys, *shape), float32."""
    bits = _hashed(keys, shape, device)
    return bits.bitwise_right_shift_(8).bitwise_and_(0xFFFFFF).float().mul_(2.0**-24)


def normal(keys: Sequence[int], shape: Sequence[int], device: torch.device) -> Tensor:
    """One tensor per key, standard normal by Box and Muller's transform: (keys, *shape), float32."""
    radius = uniform([mixed(key, 1) for key in keys], shape, device)
    angle = uniform([mixed(key, 2) for key in keys], shape, device)
    radius = radius.neg_().log1p_().mul_(-2.0).sqrt_()  # of 1 - u, which is never 0
    return radius.mul_(angle.mul_(2 * math.pi).cos_())


def _hashed(keys: Sequence[int], shape: Sequence[int], device: torch.device) -> Tensor:
    """32 random bits for every key and coordinate, (keys, *shape), int32; the lowest 8 are not to be used."""
    low = torch.tensor([_signed(key) for key in keys], dtype=torch.int32, device=device)
    high = torch.tensor([_signed(key >> 32) for key in keys], dtype=torch.int32, device=device)
    state = _mix_(_mix_(low) ^ high)
    for size in shape:
        steps = torch.arange(1, size + 1, dtype=torch.int32, device=device).mul_(_signed(_GOLDEN >> 32))
        state = _mix_(state.unsqueeze(-1) ^ steps)
    return state


def _mix_(x: Tensor) -> Tensor:
    """Every bit of int32 numbers made to depend on all others, in place.

    Constants from github.com/skeeto/hash-prospector ("lowbias32", public domain).
    """
    x ^= (x >> 16).bitwise_and_(0xFFFF)
    x *= 0x7FEB352D
    x ^= (x >> 15).bitwise_and_(0x1FFFF)
    x *= _signed(0x846CA68B)
    x ^= (x >> 16).bitwise_and_(0xFFFF)
    return x


def _signed(number: int) -> int:
    """The lowest 32 bits, as int32 has them."""
    return ((number & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
