"""Sets of distinct values: their hashes while there are few, 4096 registers of HyperLogLog from then on.

A hash is the upper 53 bits of XXH64 with seed 0: 12 bits that choose a register, and 41 whose leading zeros, and one
more, are its rank.
"""

from __future__ import annotations

import math
import struct

from attrs import Factory, define

from tests.twin.errors import CorruptBlob
from tests.twin.primitives import Reader, encode_uvarint

MASK = 2**64 - 1
PRIMES = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
HASHES = 2**53
EXACT = 32
RANK_BITS = 41
RANK_MAX = RANK_BITS + 1
REGISTERS = 4096
MOST_SPARSE = 1536
SPARSE, DENSE = 0x40, 0x80
LOW_RANKS = 7
NIBBLE = 15


def _rotated(value: int, bits: int) -> int:
    value &= MASK
    return (value << bits | value >> (64 - bits)) & MASK


def _stirred(lane: int, word: int) -> int:
    return _rotated(lane + word * PRIMES[1], 31) * PRIMES[0] & MASK


def xxh64(text: bytes) -> int:
    """XXH64 of bytes, seed 0."""
    one, two, three, four, five = PRIMES
    rest = text
    if len(text) >= 32:
        lanes = [one + two & MASK, two, 0, -one & MASK]
        while len(rest) >= 32:
            lanes = [_stirred(lane, word) for lane, word in zip(lanes, struct.unpack_from("<4Q", rest), strict=True)]
            rest = rest[32:]
        total = sum(_rotated(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True)) & MASK
        for lane in lanes:
            total = ((total ^ _stirred(0, lane)) * one + four) & MASK
    else:
        total = five
    total = total + len(text) & MASK
    while len(rest) >= 8:
        total = _rotated(total ^ _stirred(0, struct.unpack_from("<Q", rest)[0]), 27) * one + four & MASK
        rest = rest[8:]
    if len(rest) >= 4:
        total = _rotated(total ^ struct.unpack_from("<I", rest)[0] * one & MASK, 23) * two + three & MASK
        rest = rest[4:]
    for byte in rest:
        total = _rotated(total ^ byte * five & MASK, 11) * one & MASK
    total = (total ^ total >> 33) * two & MASK
    total = (total ^ total >> 29) * three & MASK
    return total ^ total >> 32


def unique_hash(value: bytes) -> int:
    """What is known of a value."""
    return xxh64(value) >> 11


def rank_of(value_hash: int) -> int:
    """The place of the first 1 among the lower 41 bits, from 1; 42 without one."""
    return RANK_BITS - (value_hash & (1 << RANK_BITS) - 1).bit_length() + 1


@define
class Hll:
    """Either `hashes`, 32 at most, or `registers`, which is not empty then."""

    hashes: set[int] = Factory(set)
    registers: bytearray = Factory(bytearray)

    @classmethod
    def of(cls, *hashes: int) -> Hll:
        """The set of these hashes."""
        made = cls()
        for each in hashes:
            made.add(each)
        return made

    def add(self, value_hash: int) -> None:
        """Add a hash."""
        if not self.registers:
            self.hashes.add(value_hash)
            if len(self.hashes) > EXACT:
                self._spill()
        else:
            self._raise(value_hash >> RANK_BITS, rank_of(value_hash))

    def merge(self, other: Hll) -> None:
        """Add what another one holds."""
        for value_hash in other.hashes:
            self.add(value_hash)
        if other.registers:
            self._spill()
            for i, rank in enumerate(other.registers):
                self._raise(i, rank)

    def _spill(self) -> None:
        self.registers = self.registers or bytearray(REGISTERS)
        for value_hash in self.hashes:
            self._raise(value_hash >> RANK_BITS, rank_of(value_hash))
        self.hashes.clear()

    def _raise(self, i: int, rank: int) -> None:
        self.registers[i] = max(self.registers[i], rank)

    def least(self) -> int:
        """How many distinct values it takes at least to come to this."""
        return max(EXACT + 1, REGISTERS - self.registers.count(0)) if self.registers else len(self.hashes)

    def estimate(self) -> float:
        """The number of distinct values, after Ertl (2017), algorithm 6."""
        if not self.registers:
            return float(len(self.hashes))
        counts = [self.registers.count(rank) for rank in range(RANK_MAX + 1)]
        if counts[0] == REGISTERS:
            return 0.0
        m = float(REGISTERS)
        z = m * _tau(1.0 - counts[RANK_MAX] / m)
        for rank in range(RANK_BITS, 0, -1):
            z = 0.5 * (z + counts[rank])
        z += m * _sigma(counts[0] / m)
        return min(0.7213475204444817 * m * m / z, float(HASHES)) if z else float(HASHES)

    def encode(self) -> bytes:
        """The one encoding of a set that is not empty."""
        if not self.registers:
            return bytes([len(self.hashes)]) + _gaps(sorted(self.hashes))
        used = [(i, rank) for i, rank in enumerate(self.registers) if rank]
        return _sparse(used) if len(used) <= MOST_SPARSE else _dense(self.registers)

    @classmethod
    def read(cls, reader: Reader) -> Hll:
        """Read one encoding, strictly but for its being the one: that is for the whole blob to be compared."""
        head = reader.u8()
        if 1 <= head <= EXACT:
            return cls.of(*_read_gaps(reader, head, HASHES))
        if head == SPARSE:
            return cls(registers=_read_sparse(reader))
        if head == DENSE:
            return cls(registers=_read_dense(reader))
        raise CorruptBlob(f"no set begins with {head:#04x}")


def _sigma(x: float) -> float:
    y, z, before = 1.0, x, -1.0
    while z != before:
        x = x * x
        before = z
        z = z + x * y
        y = y + y
    return z


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z, before = 1.0, 1.0 - x, -1.0
    while z != before:
        x = math.sqrt(x)
        before = z
        y = y * 0.5
        z = z - (1.0 - x) * (1.0 - x) * y
    return z / 3.0


def _gaps(ascending: list[int]) -> bytes:
    ends = [0, *(each + 1 for each in ascending)]
    return b"".join(encode_uvarint(each - end) for each, end in zip(ascending, ends, strict=False))


def _read_gaps(reader: Reader, n: int, limit: int) -> list[int]:
    found: list[int] = []
    for _ in range(n):
        found.append((found[-1] + 1 if found else 0) + reader.uvarint())
        if found[-1] >= limit:
            raise CorruptBlob("beyond the last one")
    return found


def _sparse(used: list[tuple[int, int]]) -> bytes:
    encoded = [bytes([SPARSE]), encode_uvarint(len(used))]
    end = 0
    for i, rank in used:
        low = min(rank - 1, LOW_RANKS)
        encoded.append(encode_uvarint((i - end) << 3 | low))
        if low == LOW_RANKS:
            encoded.append(bytes([rank - LOW_RANKS - 1]))
        end = i + 1
    return b"".join(encoded)


def _read_sparse(reader: Reader) -> bytearray:
    registers = bytearray(REGISTERS)
    n = reader.uvarint()
    if not 1 <= n <= MOST_SPARSE:
        raise CorruptBlob("as many registers are not written one by one")
    i = -1
    for _ in range(n):
        token = reader.uvarint()
        rank = (token & 7) + 1
        if rank > LOW_RANKS:
            rank += reader.u8()
        i += 1 + (token >> 3)
        if i >= REGISTERS or rank > RANK_MAX:
            raise CorruptBlob("no such register, or no such rank")
        registers[i] = rank
    return registers


def _dense(registers: bytearray) -> bytes:
    base = min(registers)
    nibbles = [min(rank - base, NIBBLE) for rank in registers]
    halves = bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))
    return bytes([DENSE, base]) + halves + bytes(r - base - NIBBLE for r in registers if r - base >= NIBBLE)


def _read_dense(reader: Reader) -> bytearray:
    base = reader.u8()
    ranks: list[int] = []
    for half in reader.take(REGISTERS // 2):
        ranks += [half & 15, half >> 4]
    ranks = [base + rank + (reader.u8() if rank == NIBBLE else 0) for rank in ranks]
    if max(ranks) > RANK_MAX:
        raise CorruptBlob("no such rank")
    return bytearray(ranks)
