"""The native checksums are those of the twin and of zlib, at every alignment and length."""

from __future__ import annotations

import zlib

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from tests.strategies import law
from tests.twin import crc


class NativeCrcTests(SynchronousTestCase):
    """CRC-32 and CRC-32C."""

    @law(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 2**32 - 1))
    def test_crc32c_is_the_twins(self, data: bytes, place: int, start: int) -> None:
        """Of any bytes, from any start, whole and in parts."""
        self.assertEqual(native.crc32c(data, start), crc.crc32c(data, start))
        self.assertEqual(native.crc32c(data[place:], native.crc32c(data[:place], start)), native.crc32c(data, start))

    @law(st.binary(max_size=3000), st.integers(0, 3000))
    def test_crc32_is_that_of_zlib(self, data: bytes, place: int) -> None:
        """Of any bytes, whole and in parts."""
        self.assertEqual(native.crc32(data), zlib.crc32(data))
        self.assertEqual(native.crc32(data[place:], native.crc32(data[:place])), zlib.crc32(data))

    def test_long_data(self) -> None:
        """Megabytes take the wide paths and agree with the parts."""
        data = bytes(range(256)) * 5000
        self.assertEqual(native.crc32(data), zlib.crc32(data))
        parts = 0
        for start in range(0, len(data), 9973):
            parts = native.crc32c(data[start : start + 9973], parts)
        self.assertEqual(native.crc32c(data), parts)
        self.assertEqual(native.crc32c(data[:5000]), crc.crc32c(data[:5000]))
