"""The stream value: entries in the order of their ids, and what outlives them.

Ids are pairs of integers, (milliseconds, sequence). The last id, the highest deleted id and the number of entries ever
added stay when entries go: ids are never given twice. Consumer groups do not exist.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TypeAlias

from attrs import define, field

from taba.testing.redis.resp import ReplyError

StreamId: TypeAlias = tuple[int, int]
Entry: TypeAlias = tuple[StreamId, list[bytes]]

MOST = 2**64 - 1
ZERO: StreamId = (0, 0)
LAST: StreamId = (MOST, MOST)
BAD_ID = "ERR Invalid stream ID specified as stream command argument"


def parse_id(text: bytes, missing: int = 0) -> StreamId:
    """The id that a client wrote; `missing` is the sequence of one that names only milliseconds. Raises ReplyError."""
    milliseconds, dash, sequence = text.partition(b"-")
    return _part(milliseconds), _part(sequence) if dash else missing


def _part(text: bytes) -> int:
    if not text.isdigit() or (len(text) > 1 and text[:1] == b"0") or int(text) > MOST:
        raise ReplyError(BAD_ID)
    return int(text)


def format_id(stream_id: StreamId) -> bytes:
    """An id as Redis writes it."""
    return b"%d-%d" % stream_id


def next_id(stream_id: StreamId) -> StreamId | None:
    """The id after this one; None after the last."""
    milliseconds, sequence = stream_id
    if sequence < MOST:
        return milliseconds, sequence + 1
    return (milliseconds + 1, 0) if milliseconds < MOST else None


def previous_id(stream_id: StreamId) -> StreamId | None:
    """The id before this one; None before the first."""
    milliseconds, sequence = stream_id
    if sequence:
        return milliseconds, sequence - 1
    return (milliseconds - 1, MOST) if milliseconds else None


@define(eq=False)
class Stream:
    """Entries by id. `size` is an estimate of their bytes."""

    last_id: StreamId = ZERO
    max_deleted: StreamId = ZERO
    added: int = 0
    size: int = 0
    _ids: list[StreamId] = field(factory=list)
    _fields: list[list[bytes]] = field(factory=list)

    def __len__(self) -> int:
        return len(self._ids)

    def append(self, stream_id: StreamId, fields: list[bytes]) -> None:
        """Add an entry; its id must be above the last id."""
        self._ids.append(stream_id)
        self._fields.append(fields)
        self.last_id = stream_id
        self.added += 1
        self.size += _size(fields)

    def between(self, start: StreamId, end: StreamId, count: int | None = None, backwards: bool = False) -> list[Entry]:
        """The entries from `start` to `end`, both included; the first `count` of them, or the last ones, last first."""
        low, high = bisect_left(self._ids, start), bisect_right(self._ids, end)
        if count is not None and high - low > count:
            low, high = (high - count, high) if backwards else (low, low + count)
        found = list(zip(self._ids[low:high], self._fields[low:high], strict=True))
        return found[::-1] if backwards else found

    def after(self, stream_id: StreamId, count: int | None = None) -> list[Entry]:
        """The entries above an id."""
        start = next_id(stream_id)
        return [] if start is None else self.between(start, LAST, count)

    def trim_below(self, minimum: StreamId) -> int:
        """Drop the entries below an id; how many."""
        return self._drop_first(bisect_left(self._ids, minimum))

    def trim_to(self, length: int) -> int:
        """Drop the first entries, down to `length`; how many."""
        return self._drop_first(max(0, len(self._ids) - length))

    def delete(self, stream_id: StreamId) -> bool:
        """Drop one entry; whether it was there."""
        place = bisect_left(self._ids, stream_id)
        if place == len(self._ids) or self._ids[place] != stream_id:
            return False
        self.size -= _size(self._fields[place])
        del self._ids[place], self._fields[place]
        self.max_deleted = max(self.max_deleted, stream_id)
        return True

    def first(self) -> Entry | None:
        """The first entry."""
        return (self._ids[0], self._fields[0]) if self._ids else None

    def last(self) -> Entry | None:
        """The last entry."""
        return (self._ids[-1], self._fields[-1]) if self._ids else None

    def copy(self) -> Stream:
        """Another stream with the same content."""
        return Stream(self.last_id, self.max_deleted, self.added, self.size, list(self._ids), list(self._fields))

    def _drop_first(self, count: int) -> int:
        # Trimming does not move max_deleted: Redis keeps that for XDEL alone.
        if count:
            self.size -= sum(map(_size, self._fields[:count]))
            del self._ids[:count], self._fields[:count]
        return count


def _size(fields: list[bytes]) -> int:
    return 32 + sum(map(len, fields)) + 8 * len(fields)
