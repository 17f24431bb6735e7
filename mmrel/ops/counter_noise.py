"""Normal numbers that depend on nothing but a seed and a position, for many seeds at once.

SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) turns a seed plus a multiple of the golden ratio into 64 random bits; of
these come two uniform numbers, and of them one normal number (Box and Muller, 1958).
"""

import math

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15
MIXERS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
LAST_SHIFT = 31
HALF_BITS = 32
UNIFORM_BITS = 24


def counter_normal(seeds: Tensor, count: int) -> Tensor:
    """Independent standard normal numbers.

    Args:
        seeds: int64 ``(n,)``.
        count: numbers per seed.

    Returns:
        float32 ``(n, count)`` on the seeds' device; row i is a function of seed i alone.
    """
    steps = torch.arange(1, count + 1, device=seeds.device)
    bits = _mix(seeds[:, None] + steps * _signed(GOLDEN))
    # Midpoints of 2^24 intervals: neither 0, whose logarithm is infinite, nor 1. The sine of the angle would be a
    # second number; it is not taken, so that every number has its own counter.
    radius, angle = (
        ((part & (1 << UNIFORM_BITS) - 1).to(torch.float32) + 0.5) / (1 << UNIFORM_BITS)
        for part in (bits, _shifted(bits, HALF_BITS))
    )
    return radius.log().mul_(-2).sqrt_().mul_(angle.mul_(2 * math.pi).cos_())


def _mix(state: Tensor) -> Tensor:
    for shift, factor in MIXERS:
        state = (state ^ _shifted(state, shift)) * _signed(factor)
    return state ^ _shifted(state, LAST_SHIFT)


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Shifted to the right with zeros coming in; torch's shift repeats the sign."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _signed(number: int) -> int:
    """The int64 with the bits of an unsigned number."""
    return number - (1 << 64) if number >= 1 << 63 else number
