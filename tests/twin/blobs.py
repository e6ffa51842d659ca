"""The two bytes that every State and Partial starts with."""

from __future__ import annotations

from tests.twin.errors import CorruptBlob, UnknownVersion, WrongType
from tests.twin.primitives import Reader

RAW, COUNTER_GROUP, PERCENTILE_GROUP, GAUGE, UNIQUE_GROUP = 0, 1, 2, 3, 8
PARTIAL = 0x80
VERSION = 1


def head(first: int) -> bytes:
    """The two bytes of this version."""
    return bytes([first, VERSION])


def open_blob(blob: bytes, first: int) -> Reader:
    """A reader behind the head of a blob whose first byte must be `first`."""
    reader = Reader(blob)
    if reader.u8() != first:
        raise WrongType(f"a blob of {blob[0]:#04x}, not {first:#04x}")
    if reader.u8() != VERSION:
        raise UnknownVersion(f"version {blob[1]}")
    return reader


def check_canonical(blob: bytes, encoded: bytes) -> None:
    """One value has one encoding: CorruptBlob when a decoded blob would be written otherwise."""
    if blob != encoded:
        raise CorruptBlob("not the one encoding of its value")
