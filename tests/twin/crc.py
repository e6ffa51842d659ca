"""The two checksums, bit by bit."""

from __future__ import annotations

CASTAGNOLI = 0x82F63B78  # the polynomials, least significant bit first
ZLIB = 0xEDB88320


def _crc(polynomial: int, data: bytes, crc: int) -> int:
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ polynomial * (crc & 1)
    return crc ^ 0xFFFFFFFF


def crc32c(data: bytes, crc: int = 0) -> int:
    """CRC-32C of `data`, going on from `crc`."""
    return _crc(CASTAGNOLI, data, crc)


def crc32(data: bytes, crc: int = 0) -> int:
    """zlib's CRC-32 of `data`, going on from `crc`."""
    return _crc(ZLIB, data, crc)
