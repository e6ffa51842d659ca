"""Bucket boundaries: exact against rational arithmetic, and the constants against sixty decimal digits."""

from __future__ import annotations

import math
from decimal import Context, Decimal
from fractions import Fraction

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests import strategies
from tests.strategies import law
from tests.twin import octaves

DIGITS = Context(prec=60)


def _is_above(value: float, step: int, scale: int) -> bool:
    """Whether value > base**step at a scale, in rational numbers."""
    return Fraction(value) ** (1 << scale) > Fraction(2) ** step


class IndexTests(SynchronousTestCase):
    """The bucket of a value."""

    @law(strategies.finite_values().map(abs).filter(bool), st.integers(0, 6), examples=100)
    def test_value_lies_in_its_bucket(self, value: float, scale: int) -> None:
        """base**i < value <= base**(i+1), to the last bit."""
        index = octaves.index(value, scale)
        self.assertTrue(_is_above(value, index, scale))
        self.assertFalse(_is_above(value, index + 1, scale))

    def test_powers_of_two_are_upper_ends(self) -> None:
        """A bucket holds its upper end and not its lower one."""
        self.assertEqual([octaves.index(value) for value in (1.0, math.nextafter(1.0, 2.0), 2.0)], [-1, 0, 63])

    def test_ends_of_the_doubles(self) -> None:
        """The least and the greatest double have indices too."""
        self.assertEqual(octaves.index(5e-324), -1074 * 64 - 1)
        self.assertEqual(octaves.index(1.7976931348623157e308), 1024 * 64 - 1)


class ConstantTests(SynchronousTestCase):
    """L, C and the error."""

    def test_lower_edges_are_rounded_correctly(self) -> None:
        """L[j] is the double nearest to 2**(j/64)."""
        for step in range(64):
            exact = DIGITS.power(Decimal(2), Decimal(step) / 64)
            self.assertEqual(octaves.lower_edge(step), float(exact))

    def test_middles_and_errors_are_rounded_correctly(self) -> None:
        """C[s] is the double nearest to 2g / (1 + g), the error that nearest to (g - 1) / (g + 1)."""
        for scale in range(7):
            g = DIGITS.power(Decimal(2), Decimal(1) / 2**scale)
            self.assertEqual(octaves.middle(scale), float(DIGITS.divide(2 * g, DIGITS.add(1, g))))
            self.assertEqual(octaves.error(scale), float(DIGITS.divide(DIGITS.subtract(g, 1), DIGITS.add(g, 1))))

    def test_error_at_scale_6(self) -> None:
        """0.542 percent."""
        self.assertEqual(round(octaves.error(6), 5), 0.00542)

    @law(strategies.finite_values().map(abs).filter(lambda value: value > 1e-300), st.integers(0, 6), examples=100)
    def test_representative_is_within_the_error(self, value: float, scale: int) -> None:
        """The point of its bucket is as near to a value as promised."""
        point = octaves.representative(octaves.index(value, scale), scale)
        self.assertLessEqual(abs(point - value) / value, octaves.error(scale) * (1 + 1e-12))

    def test_root_is_exact(self) -> None:
        """The integer root neither falls short nor exceeds."""
        for number, degree in ((0, 3), (1, 64), (8, 3), (7, 3), (10**40, 20), (10**40 - 1, 20)):
            found = octaves.root(number, degree)
            self.assertTrue(found**degree <= number < (found + 1) ** degree)
