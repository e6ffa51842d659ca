"""The primitives of every encoding: u8, f64, uvarint, svarint, numbers of three kinds; and sums that never overflow.

`Reader` refuses whatever the functions of `encode_...` would not have written. A number is always a finite double, and
zero is never negative.
"""

from __future__ import annotations

import math
import struct
import sys

from attrs import define

from tests.twin.errors import CorruptBlob

MAX_UVARINT = 2**64 - 1
MAX_SVARINT = 2**63 - 1
MIN_SVARINT = -(2**63)
MAX_WHOLE = 2**53  # up to here every whole number is a double

WHOLE, THOUSANDTHS, DOUBLE = 0, 1, 2  # the kinds of numbers


def number(value: float) -> float:
    """`value` as a number: a finite double without a negative zero. ValueError for NaN and infinities."""
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is not finite")
    return value + 0.0  # -0.0 + 0.0 is 0.0


def add(a: float, b: float) -> float:
    """The sum of two numbers, held at the largest finite double of its sign when it would overflow."""
    total = a + b
    if math.isinf(total):
        return math.copysign(sys.float_info.max, total)
    return total


def encode_uvarint(value: int) -> bytes:
    """LEB128, the shortest form. ValueError beyond 64 bits."""
    if not 0 <= value <= MAX_UVARINT:
        raise ValueError(f"{value} does not fit a uvarint")
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode_svarint(value: int) -> bytes:
    """A signed number as the uvarint of its zigzag."""
    return encode_uvarint(2 * value if value >= 0 else -2 * value - 1)


def encode_f64(value: float) -> bytes:
    """An IEEE 754 double, little-endian."""
    return struct.pack("<d", number(value))


def whole_of(value: float) -> int | None:
    """The m of kind 0 that gives `value` back, or None."""
    return int(value) if value.is_integer() and abs(value) <= MAX_WHOLE else None


def thousandths_of(value: float) -> int | None:
    """The m of kind 1 that gives `value` back, or None."""
    scaled = value * 1000.0
    if not math.isfinite(scaled) or abs(m := round(scaled)) > MAX_WHOLE:  # round() goes half to even
        return None
    return m if m / 1000.0 == value else None


def kind_of(value: float) -> int:
    """The lowest kind that gives the very same double back."""
    if whole_of(value) is not None:
        return WHOLE
    return DOUBLE if thousandths_of(value) is None else THOUSANDTHS


def encode_number(value: float) -> bytes:
    """A number in its kind; the kind itself stands elsewhere."""
    for scaled in (whole_of(value), thousandths_of(value)):
        if scaled is not None:
            return encode_svarint(scaled)
    return encode_f64(value)


@define
class Reader:
    """Reads one blob from the front. Whatever is not there, or not in its one form, raises CorruptBlob."""

    data: bytes
    offset: int = 0

    def take(self, length: int) -> bytes:
        """The next `length` bytes."""
        if length > len(self.data) - self.offset:
            raise CorruptBlob("cut short")
        self.offset += length
        return self.data[self.offset - length : self.offset]

    def u8(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def f64(self) -> float:
        """A finite double that is not a negative zero."""
        value: float = struct.unpack("<d", self.take(8))[0]
        if not math.isfinite(value) or (value == 0.0 and math.copysign(1.0, value) < 0.0):
            raise CorruptBlob(f"{value!r} is no number")
        return value

    def uvarint(self) -> int:
        """An unsigned number of at most 64 bits, in the shortest form."""
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            if value > MAX_UVARINT:
                raise CorruptBlob("a uvarint of more than 64 bits")
            if byte < 0x80:
                break
            shift += 7
        if byte == 0 and shift:
            raise CorruptBlob("a uvarint that is not in its shortest form")
        return value

    def svarint(self) -> int:
        """A signed number of at most 64 bits."""
        zigzag = self.uvarint()
        return -(zigzag >> 1) - 1 if zigzag & 1 else zigzag >> 1

    def scaled(self) -> int:
        """The m of kinds 0 and 1."""
        m = self.svarint()
        if abs(m) > MAX_WHOLE:
            raise CorruptBlob("m is beyond 2**53")
        return m

    def number(self, kind: int) -> float:
        """A number of this kind, which must be its lowest, in the one form of that kind."""
        start = self.offset
        if kind == WHOLE:
            value = float(self.scaled())
        elif kind == THOUSANDTHS:
            value = self.scaled() / 1000.0
        elif kind == DOUBLE:
            value = self.f64()
        else:
            raise CorruptBlob(f"there is no kind {kind}")
        if kind_of(value) != kind or encode_number(value) != self.data[start : self.offset]:
            raise CorruptBlob("not the one encoding of a number")
        return value

    def string(self) -> bytes:
        """`uvarint length`, then as many bytes."""
        return self.take(self.uvarint())

    def end(self) -> None:
        """Nothing may follow."""
        if self.offset != len(self.data):
            raise CorruptBlob("more bytes than the blob has")
