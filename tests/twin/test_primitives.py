"""The primitives of the encodings: known bytes, one form for each value, and sums that stay finite."""

from __future__ import annotations

import math
import struct
import sys

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests import strategies
from tests.strategies import law
from tests.twin import primitives
from tests.twin.errors import CorruptBlob
from tests.twin.primitives import Reader


class VarintTests(SynchronousTestCase):
    """uvarint and svarint."""

    @law(st.integers(0, 2**64 - 1))
    def test_unsigned_numbers_survive(self, value: int) -> None:
        """Any number of 64 bits reads back, and in no other bytes."""
        encoded = primitives.encode_uvarint(value)
        reader = Reader(encoded)
        self.assertEqual(reader.uvarint(), value)
        reader.end()
        longer = encoded[:-1] + bytes([encoded[-1] | 0x80, 0])
        self.assertRaises(CorruptBlob, Reader(longer).uvarint)

    @law(st.integers(-(2**63), 2**63 - 1))
    def test_signed_numbers_survive(self, value: int) -> None:
        """Any signed number of 64 bits reads back."""
        self.assertEqual(Reader(primitives.encode_svarint(value)).svarint(), value)

    def test_known_bytes(self) -> None:
        """LEB128 and zigzag as everybody has them."""
        self.assertEqual(primitives.encode_uvarint(300), b"\xac\x02")
        self.assertEqual(
            [primitives.encode_svarint(n) for n in (0, -1, 1, -64, 64)], [b"\0", b"\1", b"\2", b"\x7f", b"\x80\1"]
        )

    def test_more_than_64_bits_are_refused(self) -> None:
        """Ten bytes hold 64 bits; one bit more is corrupt."""
        self.assertEqual(Reader(b"\xff" * 9 + b"\x01").uvarint(), 2**64 - 1)
        self.assertRaises(CorruptBlob, Reader(b"\xff" * 9 + b"\x02").uvarint)
        self.assertRaises(CorruptBlob, Reader(b"\xff" * 10 + b"\x00").uvarint)


class NumberTests(SynchronousTestCase):
    """Numbers in their kinds."""

    @law(strategies.values(), examples=200)
    def test_numbers_survive_in_their_lowest_kind(self, value: float) -> None:
        """Any finite double reads back; a higher kind than the lowest is refused."""
        kind = primitives.kind_of(value)
        encoded = primitives.encode_number(value)
        self.assertEqual(struct.pack("<d", Reader(encoded).number(kind)), struct.pack("<d", value + 0.0))
        if kind < 2:
            self.assertRaises(CorruptBlob, Reader(primitives.encode_f64(value)).number, 2)

    def test_kinds_of_known_numbers(self) -> None:
        """Whole numbers, thousandths and the rest."""
        kinds = {
            0.0: 0,
            7.0: 0,
            2.0**53: 0,
            2.0**53 + 2: 2,
            0.5: 1,
            12.34: 1,
            -0.001: 1,
            0.0005: 2,
            math.pi: 2,
            1e300: 2,
        }
        self.assertEqual({value: primitives.kind_of(value) for value in kinds}, kinds)

    def test_numbers_that_are_none_are_refused(self) -> None:
        """NaN, infinities and negative zero have no encoding."""
        for value in (math.nan, math.inf, -math.inf, -0.0):
            self.assertRaises(CorruptBlob, Reader(struct.pack("<d", value)).f64)

    def test_a_second_m_for_the_same_number_is_refused(self) -> None:
        """Where thousandths lie closer than doubles, only the m that the encoder takes is read."""
        m = 2**53 - 1
        twins = [m - i for i in range(64) if (m - i) / 1000.0 == (m - i - 1) / 1000.0]
        self.assertTrue(twins)
        accepted = 0
        for one in (twins[0], twins[0] - 1):
            try:
                accepted += Reader(primitives.encode_svarint(one)).number(1) is not None
            except CorruptBlob:
                continue
        self.assertLessEqual(accepted, 1)


class SumTests(SynchronousTestCase):
    """Adding numbers."""

    @law(strategies.finite_values(), strategies.finite_values())
    def test_sums_stay_finite(self, a: float, b: float) -> None:
        """A sum is the IEEE sum, or the largest double of its sign."""
        total = primitives.add(a, b)
        self.assertTrue(math.isfinite(total))
        self.assertEqual(total, max(-sys.float_info.max, min(sys.float_info.max, a + b)))
