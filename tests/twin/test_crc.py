"""The checksums of the twin, against known values and zlib."""

from __future__ import annotations

import zlib

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.strategies import law
from tests.twin.crc import crc32, crc32c


class CrcTests(SynchronousTestCase):
    """CRC-32 and CRC-32C."""

    def test_check_values(self) -> None:
        """The published values of the nine digits, and those of iSCSI for 32 zeros."""
        self.assertEqual((crc32c(b"123456789"), crc32(b"123456789")), (0xE3069283, 0xCBF43926))
        self.assertEqual(crc32c(bytes(32)), 0x8A9136AA)

    @law(st.binary(max_size=50), st.binary(max_size=50))
    def test_parts_equal_the_whole(self, one: bytes, other: bytes) -> None:
        """Feeding parts in turn equals feeding the whole; CRC-32 is that of zlib."""
        self.assertEqual(crc32c(other, crc32c(one)), crc32c(one + other))
        self.assertEqual(crc32(other, crc32(one)), zlib.crc32(one + other))
