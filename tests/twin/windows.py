"""Time buckets: which a State keeps, which a window shows, and how their indices are written.

The index of a bucket is floor(time / width), and never depends on when anything was folded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TypeVar

from attrs import frozen

from tests.twin.errors import CorruptBlob
from tests.twin.primitives import Reader, encode_svarint, encode_uvarint

RETENTION_MARGIN = 90  # seconds that buckets outlive their window: MAX_CLOCK_SKEW and 30 more
LAST_SECOND = 2**53  # no time is beyond this or its negative; up to there whole seconds are doubles

B = TypeVar("B")


@frozen
class Level:
    """One window: `number` buckets of `width` seconds."""

    width: int
    number: int

    def index(self, time: float) -> int:
        """The bucket that holds `time`. ValueError when it is not finite."""
        if not math.isfinite(time):
            raise ValueError(f"{time!r} is not a time")
        return math.floor(time) // self.width  # both floors are exact

    def oldest_kept(self, newest: int) -> int:
        """The first bucket that a State keeps whose last finest bucket starts at `newest`."""
        return (newest - self.width * self.number - RETENTION_MARGIN) // self.width

    def shown(self, time: float) -> range:
        """The buckets of the window at `time`, oldest first. ValueError for NaN and beyond `LAST_SECOND`."""
        if not abs(time) <= LAST_SECOND:
            raise ValueError(f"{time!r} is not a time to ask for")
        last = self.index(time)
        return range(last - self.number + 1, last + 1)


def kept(level: Level, buckets: Mapping[int, B], newest: int) -> dict[int, B]:
    """Those of a level's buckets that are not too old for `newest`."""
    return {index: bucket for index, bucket in buckets.items() if index >= level.oldest_kept(newest)}


def encode_indices(indices: Iterable[int]) -> list[bytes]:
    """Ascending indices, as `minute` is written: the first as it is, then the difference to the one before less 1."""
    encoded: list[bytes] = []
    previous = 0
    for index in indices:
        encoded.append(encode_uvarint(index - previous - 1) if encoded else encode_svarint(index))
        previous = index
    return encoded


def read_index(reader: Reader, previous: int | None, width: int) -> int:
    """The index that follows `previous`, or the first."""
    return within(reader.svarint() if previous is None else previous + 1 + reader.uvarint(), width)


def within(index: int, width: int) -> int:
    """`index`, of a bucket that holds some time within `LAST_SECOND`."""
    if not -LAST_SECOND // width <= index <= LAST_SECOND // width:
        raise CorruptBlob("a bucket beyond all time")
    return index
