"""Merkle trees over what a node holds. Pure.

The leaf of a slot is the sum, modulo 2**64, of the digests of its records: so a record that comes, goes or changes
costs one addition, and the order does not matter. Above the leaves of a group of slots (see `placement`) stand chunks
of CHUNK leaves, above these the group's root; both are hashed when they are asked for, which for the whole node takes a
few milliseconds. Two nodes compare roots, then chunks, then leaves, then the versions in the slots that differ: what is
equal costs 16 bytes a group.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

from attrs import define, field, frozen

from taba.tako.placement import Group
from taba.tako.records import SLOTS, Version, is_newer

CHUNK = 64
"""Leaves of a chunk."""
MAX_ROOTS = 100_000
"""Roots that are kept; those of groups of former configurations go with the others."""
_MODULUS = 1 << 64


@define(eq=False)
class Leaves:
    """The leaves of a node: `sums` and number of records of each slot. One thread uses it."""

    sums: array[int] = field(factory=lambda: array("Q", bytes(8 * SLOTS)))
    counts: array[int] = field(factory=lambda: array("L", bytes(array("L").itemsize * SLOTS)))

    _changes: int = field(default=0, init=False)
    _roots: dict[Group, tuple[int, str]] = field(factory=dict, init=False)

    def change(self, slot: int, removed: int | None, added: int | None) -> None:
        """One record of a slot goes, comes, or (both) becomes another: the digests of the old and the new one."""
        self.sums[slot] = (self.sums[slot] - (removed or 0) + (added or 0)) % _MODULUS
        self.counts[slot] += (added is not None) - (removed is not None)
        self._changes += 1

    def replace(self, other: Leaves) -> None:
        """Take over other leaves."""
        self.sums, self.counts = other.sums, other.counts
        self._changes += 1

    def of(self, slots: Iterable[int]) -> list[int]:
        """The sums of some slots, in their order."""
        return [self.sums[slot] for slot in slots]

    def to_bytes(self) -> bytes:
        """All sums, little-endian, 8 bytes each."""
        sums = self.sums
        if sys.byteorder == "big":
            sums = array("Q", sums)
            sums.byteswap()
        return sums.tobytes()

    def records(self, slots: Iterable[int]) -> int:
        """How many records are in some slots."""
        return sum(self.counts[slot] for slot in slots)

    def root(self, group: Group) -> str:
        """The root of a group, as 32 hexadecimal digits."""
        changes, root = self._roots.get(group, (-1, ""))
        if changes != self._changes:
            picked = group.pick(self.sums)
            root = _hash(picked if len(group.slots) > 1 else [picked])
            if len(self._roots) > MAX_ROOTS:
                self._roots.clear()
            self._roots[group] = (self._changes, root)
        return root

    def chunks(self, group: Group) -> list[str]:
        """The hashes of a group's chunks, in order."""
        return [_hash(self.of(group.slots[first : first + CHUNK])) for first in range(0, len(group.slots), CHUNK)]


def _hash(sums: Sequence[int]) -> str:
    leaves = array("Q", sums)
    return blake2b(leaves.tobytes(), digest_size=16).hexdigest()


def slots_of_chunk(group: Group, chunk: int) -> tuple[int, ...]:
    """The slots of one chunk of a group."""
    return group.slots[chunk * CHUNK : (chunk + 1) * CHUNK]


def differing(mine: Sequence[object], theirs: Sequence[object]) -> list[int]:
    """The places at which two rows of hashes or sums are not equal; all when they are not equally long."""
    if len(mine) != len(theirs):
        return list(range(len(mine)))
    return [place for place, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b]


@frozen
class Exchange:
    """What makes two nodes equal in some slots."""

    wanted: tuple[bytes, ...]
    """Keys whose newer version the other one has."""
    owed: tuple[bytes, ...]
    """Keys whose newer version is here."""


def exchange(mine: Mapping[bytes, Version], theirs: Mapping[bytes, Version]) -> Exchange:
    """What to fetch and what to send, for two lists of the versions in the same slots."""
    wanted = [key for key, version in theirs.items() if is_newer(version, mine.get(key))]
    owed = [key for key, version in mine.items() if is_newer(version, theirs.get(key))]
    return Exchange(tuple(wanted), tuple(owed))
