"""The primitives in which Handlers written in Python encode their States: see docs/reference/states-and-partials.md.

Every value has one encoding. A `Reader` refuses what the functions here would not have written, with `CorruptBlob`; a
Handler that decodes a whole State compares it, besides, with what it would write (`check_canonical`). Pure.
"""

from __future__ import annotations

import math
import struct
from typing import Final

from attrs import define

from taba.errors import CorruptBlob, UnknownVersion, WrongType

WHOLE: Final = 0
THOUSANDTHS: Final = 1
DOUBLE: Final = 2
"""The kinds of numbers, in the order in which an encoder tries them."""

MAX_UVARINT: Final = 2**64 - 1
MAX_WHOLE: Final = 2**53
"""Up to here every whole number is a double."""
MAX_COUNT: Final = 2**61
"""No State counts more events."""

_LARGEST: Final = math.nextafter(math.inf, 0.0)
_F64: Final = struct.Struct("<d")


def head(first: int, version: int) -> bytes:
    """The two bytes that a State begins with: its Type and the version of its encoding."""
    return bytes((first, version))


def encode_uvarint(value: int) -> bytes:
    """A whole number of 0 to 2**64 - 1 in LEB128, the shortest form; ValueError for another."""
    if not 0 <= value <= MAX_UVARINT:
        raise ValueError(f"{value} does not fit a uvarint")
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode_svarint(value: int) -> bytes:
    """A signed whole number, as the uvarint of its zigzag."""
    return encode_uvarint(2 * value if value >= 0 else -2 * value - 1)


def encode_f64(value: float) -> bytes:
    """A finite double, with zero never negative; ValueError for NaN and infinities."""
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is not finite")
    return _F64.pack(value + 0.0)  # -0.0 + 0.0 is 0.0


def encode_string(value: bytes) -> bytes:
    """`uvarint length`, then the bytes."""
    return encode_uvarint(len(value)) + value


def encode_number(value: float) -> tuple[int, bytes]:
    """A finite double in the lowest kind that gives it back: (kind, bytes)."""
    if value.is_integer() and abs(value) <= MAX_WHOLE:
        return WHOLE, encode_svarint(int(value))
    scaled = value * 1000.0
    if math.isfinite(scaled):
        m = round(scaled)  # half to even
        if abs(m) <= MAX_WHOLE and m / 1000.0 == value:
            return THOUSANDTHS, encode_svarint(m)
    return DOUBLE, encode_f64(value)


def add(one: float, other: float) -> float:
    """The sum of two numbers; one that would overflow stays at the largest finite double of its sign."""
    total = one + other
    return math.copysign(_LARGEST, total) if math.isinf(total) else total


def add_counts(one: int, other: int) -> int:
    """The sum of two counts of events; ValueError beyond 2**61, as of the native Types."""
    if one + other > MAX_COUNT:
        raise ValueError(f"{one} and {other} events are more than a State counts")
    return one + other


@define
class Reader:
    """Reads a byte string from `offset` on. CorruptBlob for what is not there, or not in its one form."""

    blob: bytes
    offset: int = 0

    @classmethod
    def of_state(cls, state: bytes, first: int, version: int) -> Reader:
        """A reader behind the head of a State. WrongType and UnknownVersion for another head."""
        if len(state) < 2:
            raise CorruptBlob("cut short")
        if state[0] != first:
            raise WrongType(f"a blob of {state[0]:#04x}, not {first:#04x}")
        if state[1] != version:
            raise UnknownVersion(f"version {state[1]} of {first:#04x}")
        return cls(state, 2)

    def take(self, length: int) -> bytes:
        """The next `length` bytes."""
        end = self.offset + length
        if end > len(self.blob):
            raise CorruptBlob("cut short")
        taken = self.blob[self.offset : end]
        self.offset = end
        return taken

    def u8(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def f64(self) -> float:
        """A finite double that is not a negative zero."""
        value: float = _F64.unpack(self.take(8))[0]
        if not math.isfinite(value) or (value == 0.0 and math.copysign(1.0, value) < 0.0):
            raise CorruptBlob(f"{value!r} is no number of a State")
        return value

    def uvarint(self) -> int:
        """A whole number of 0 to 2**64 - 1."""
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            if value > MAX_UVARINT or shift > 63:
                raise CorruptBlob("a uvarint of more than 64 bits")
            if byte < 0x80:
                break
            shift += 7
        if byte == 0 and shift:
            raise CorruptBlob("a uvarint that is not in its shortest form")
        return value

    def svarint(self) -> int:
        """A signed whole number."""
        zigzag = self.uvarint()
        return -(zigzag >> 1) - 1 if zigzag & 1 else zigzag >> 1

    def second(self) -> int:
        """A whole second since 1970, as a bucket of the native Types may have it."""
        second = self.svarint()
        if abs(second) > MAX_WHOLE:
            raise CorruptBlob("a second beyond 2**53")
        return second

    def string(self) -> bytes:
        """`uvarint length`, then as many bytes."""
        return self.take(self.uvarint())

    def number(self, kind: int) -> float:
        """A number of `kind`, which must be the lowest that gives it back."""
        start = self.offset
        if kind == DOUBLE:
            value = self.f64()
        elif kind in (WHOLE, THOUSANDTHS):
            m = self.svarint()
            if abs(m) > MAX_WHOLE:
                raise CorruptBlob("a number beyond 2**53 of its kind")
            value = float(m) if kind == WHOLE else m / 1000.0
        else:
            raise CorruptBlob(f"there is no kind {kind} of numbers")
        if encode_number(value) != (kind, self.blob[start : self.offset]):
            raise CorruptBlob("a number that is not in its one form")
        return value

    def end(self) -> None:
        """Nothing may follow."""
        if self.offset != len(self.blob):
            raise CorruptBlob("bytes after the end")


def present(state: bytes, first: int, version: int) -> bytes:
    """The State itself, when its head says that it is of this Type and version; the empty one, too. WrongType and
    UnknownVersion for another head. What follows the head is not looked at.
    """
    if state and (len(state) < 2 or state[0] != first or state[1] != version):
        Reader.of_state(state, first, version)  # it says what is wrong
    return state


def check_canonical(state: bytes, encoded: bytes) -> None:
    """CorruptBlob when a State is not what its decoded value is encoded as."""
    if state != encoded:
        raise CorruptBlob("not the one encoding of its value")
