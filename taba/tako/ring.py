"""Consistent hashing: which buckets own a key. Pure, and the same on every machine: nothing depends on `hash()`.

Each bucket stands at POINTS points of a circle of 2**64 positions. The circle is cut into SLOTS equal slots; a key lies
at the begin of its slot, and belongs to the next `buckets_per_key` distinct buckets from there on. So all keys of a
slot have the same owners, under any deployment, and a bucket that comes or goes moves only its share. With up to some
100 buckets (12,000 points for 65,536 slots) the cut costs no balance that would be seen; with thousands some buckets
would own nothing.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from hashlib import blake2b

from taba.tako.records import SLOTS

POINTS = 120
"""Points of each bucket."""
_SHIFT = 48  # a slot's begin is its number shifted by so many bits


def points_of(bucket: str) -> list[int]:
    """The positions of a bucket, 0 to 2**64 - 1."""
    return [
        int.from_bytes(blake2b(f"{bucket}/{number}".encode(), digest_size=8).digest(), "big")
        for number in range(POINTS)
    ]


class Ring:
    """Buckets on a circle. `groups` are the different sets of owners, in order; `group_of` has the index of each
    slot's.
    """

    def __init__(self, buckets: Iterable[str], buckets_per_key: int) -> None:
        """ValueError unless there are at least `buckets_per_key` buckets, and that is 1 at least."""
        names = sorted(set(buckets))
        if not 1 <= buckets_per_key <= len(names):
            raise ValueError(f"{buckets_per_key} buckets per key of {len(names)} buckets")
        self.buckets = tuple(names)
        self.buckets_per_key = buckets_per_key
        self._points = sorted((position, name) for name in names for position in points_of(name))
        self.groups: list[tuple[str, ...]] = []
        self.group_of = array("H", bytes(2 * SLOTS))
        self.runs: list[tuple[int, int, int]] = []
        """First slot, the one after the last, and group: in order, without gaps."""
        self._assign()

    def _assign(self) -> None:
        """Fill `groups` and `group_of`, arc by arc."""
        known: dict[tuple[str, ...], int] = {}
        first = 0
        for index, (position, _) in enumerate(self._points):
            end = (position >> _SHIFT) + 1  # the slots that begin at or before the point
            if end > first:
                self._run(first, end, known.setdefault(self._owners_from(index), len(known)))
                first = end
        if first < SLOTS:
            self._run(first, SLOTS, known.setdefault(self._owners_from(0), len(known)))
        self.groups = list(known)

    def _run(self, first: int, end: int, group: int) -> None:
        self.runs.append((first, end, group))
        self.group_of[first:end] = array("H", [group]) * (end - first)

    def _owners_from(self, index: int) -> tuple[str, ...]:
        """The distinct buckets from a point on."""
        owners: list[str] = []
        for step in range(len(self._points)):
            name = self._points[(index + step) % len(self._points)][1]
            if name not in owners:
                owners.append(name)
                if len(owners) == self.buckets_per_key:
                    break
        return tuple(owners)

    def owners(self, slot: int) -> tuple[str, ...]:
        """The buckets that own a slot, the nearest first."""
        return self.groups[self.group_of[slot]]

    def owners_by_search(self, slot: int) -> tuple[str, ...]:
        """The same by looking for the point, as the definition says; for tests."""
        return self._owners_from(bisect_left(self._points, (slot << _SHIFT, "")) % len(self._points))

    def shares(self) -> dict[str, float]:
        """Which part of all keys each bucket holds, 0 to 1."""
        counts = [0] * len(self.groups)
        for first, end, group in self.runs:
            counts[group] += end - first
        return {
            name: sum(count for count, owners in zip(counts, self.groups, strict=True) if name in owners) / SLOTS
            for name in self.buckets
        }
