"""The boundaries and middles of sketch buckets, from integer arithmetic alone: no logarithm is taken.

A root of two is irrational (but for whole octaves), so comparing m with 2**(k/64) is comparing the integers m**64 and
2**k, and the double nearest to a root comes from the integer root of a number long enough.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

SCALE: int = 6  # the finest scale: 64 buckets an octave
STEPS: int = 1 << SCALE
_MANTISSA_BITS = 53
_LONG = 256  # bits; more than enough to tell on which side of a rounding boundary a root of two lies


def index(value: float, scale: int = SCALE) -> int:
    """The bucket of a positive finite value: i with base**i < value <= base**(i+1), base = 2**(2**-scale)."""
    m, exponent = math.frexp(value)  # value = m * 2**exponent with 0.5 <= m < 1
    mantissa = int(math.ldexp(m, _MANTISSA_BITS))  # value = (mantissa / 2**52) * 2**(exponent - 1), exactly
    power: int = mantissa**STEPS  # (mantissa / 2**52)**64 > 2**k is power > 2**(k + 64 * 52), so count those k >= 0
    above: int = (power - 1).bit_length() - STEPS * (_MANTISSA_BITS - 1)
    return STEPS * (exponent - 1) + above - 1 >> SCALE - scale


def root(number: int, degree: int) -> int:
    """The greatest integer whose `degree`-th power is not above `number`, which is not negative."""
    low, high = 0, 1 << number.bit_length() // degree + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**degree <= number else (low, middle)
    return low


def power_of_two(steps: int, per_octave: int) -> tuple[Fraction, Fraction]:
    """A lower and an upper bound of 2**(steps / per_octave), 0 <= steps, as near as `_LONG` bits are."""
    low = root(1 << steps + per_octave * _LONG, per_octave)
    exact = low**per_octave == 1 << steps + per_octave * _LONG
    return Fraction(low, 1 << _LONG), Fraction(low if exact else low + 1, 1 << _LONG)


def _nearest(low: Fraction, high: Fraction) -> float:
    """The double nearest to everything between `low` and `high`."""
    rounded = low.numerator / low.denominator  # int / int is rounded correctly
    assert rounded == high.numerator / high.denominator, "a boundary of rounding lies between the bounds"
    return rounded


@cache
def lower_edge(step: int) -> float:
    """L[step]: 2**(step/64), rounded to the nearest double."""
    return _nearest(*power_of_two(step, STEPS))


@cache
def middle(scale: int) -> float:
    """C[scale]: 2g / (1 + g) with g = 2**(2**-scale), rounded to the nearest double. It grows with g."""
    low, high = power_of_two(1, 2**scale)
    return _nearest(2 * low / (1 + low), 2 * high / (1 + high))


@cache
def error(scale: int) -> float:
    """The bound of the relative error of a quantile at `scale`: (g - 1) / (g + 1), rounded to the nearest double."""
    low, high = power_of_two(1, 2**scale)
    return _nearest((low - 1) / (low + 1), (high - 1) / (high + 1))


def representative(bucket: int, scale: int) -> float:
    """The point of a bucket at `scale` with the least relative error."""
    exponent, step = divmod(bucket << SCALE - scale, STEPS)
    return math.ldexp(lower_edge(step) * middle(scale), exponent)
