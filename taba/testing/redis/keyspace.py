"""One database of a Redis process: keys, their values, and the times at which they expire.

Values are bytes (a string), `Hash`, `Members` (a set), `Items` (a list) or `Stream`. Times are milliseconds of the wall
clock. A key whose time has come is not found any more; a master removes it and tells `on_expired`, a replica leaves it
to its master. What is replayed (from a master, from a disk) sees it still, since the deletion is in the record as well.

Keys keep the order in which they came, so that a run repeats. Whoever changes a value calls `touch`, which notes its
size and tells those who watch it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Protocol, TypeAlias

from attrs import define, field

from taba.testing.redis.resp import ReplyError
from taba.testing.redis.stream import Stream

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
_OVERHEAD = 72  # bytes that a key takes beside its name and value, about


@define(eq=False)
class Hash:
    """A hash; `size` is an estimate of its bytes."""

    fields: dict[bytes, bytes] = field(factory=dict)
    size: int = 0

    def put(self, name: bytes, value: bytes) -> bool:
        """Set a field; whether it is new."""
        old = self.fields.get(name)
        self.fields[name] = value
        self.size += len(value) - len(old) if old is not None else len(name) + len(value) + 24
        return old is None

    def remove(self, name: bytes) -> bool:
        """Remove a field; whether it was there."""
        value = self.fields.pop(name, None)
        if value is None:
            return False
        self.size -= len(name) + len(value) + 24
        return True

    def copy(self) -> Hash:
        """Another hash with the same content."""
        return Hash(dict(self.fields), self.size)


@define(eq=False)
class Members:
    """A set, in the order in which its members came."""

    names: dict[bytes, None] = field(factory=dict)
    size: int = 0

    def add(self, name: bytes) -> bool:
        """Add a member; whether it is new."""
        if name in self.names:
            return False
        self.names[name] = None
        self.size += len(name) + 24
        return True

    def remove(self, name: bytes) -> bool:
        """Remove a member; whether it was there."""
        if name not in self.names:
            return False
        del self.names[name]
        self.size -= len(name) + 24
        return True

    def copy(self) -> Members:
        """Another set with the same content."""
        return Members(dict(self.names), self.size)


@define(eq=False)
class Items:
    """A list; `size` is an estimate of its bytes."""

    items: list[bytes] = field(factory=list)
    size: int = 0

    def push(self, added: Sequence[bytes], front: bool = False) -> None:
        """Add items, one after the other, at an end."""
        if front:
            self.items[:0] = reversed(added)
        else:
            self.items += added
        self.size += sum(len(item) + 11 for item in added)

    def keep(self, first: int, end: int) -> int:
        """Let go of all but the items of a half-open range; answers with how many went."""
        before = len(self.items)
        self.items = self.items[first:end] if first < end else []
        self.size = sum(len(item) + 11 for item in self.items)
        return before - len(self.items)

    def copy(self) -> Items:
        """Another list with the same content."""
        return Items(list(self.items), self.size)


Value: TypeAlias = bytes | Hash | Members | Items | Stream


def type_name(value: Value | None) -> str:
    """What TYPE answers."""
    if value is None:
        return "none"
    if isinstance(value, bytes):
        return "string"
    if isinstance(value, Hash):
        return "hash"
    return "set" if isinstance(value, Members) else "list" if isinstance(value, Items) else "stream"


class Watcher(Protocol):
    """A session, as far as a keyspace knows it."""

    def spoil(self, keyspace: Keyspace, key: bytes) -> None:
        """A watched key has changed."""


@define(eq=False)
class Keyspace:
    """One database. `wall_ms` is the wall clock; `keeps_expired` says whether this process may not remove expired keys
    by itself, `sees_expired` whether it is replaying what another has decided.
    """

    number: int
    wall_ms: Callable[[], int]
    keeps_expired: Callable[[], bool]
    sees_expired: Callable[[], bool]
    on_expired: Callable[[Keyspace, bytes], None]
    on_touched: Callable[[Keyspace, bytes], None]
    values: dict[bytes, Value] = field(factory=dict, init=False)
    deadlines: dict[bytes, int] = field(factory=dict, init=False)
    used: int = field(default=0, init=False)
    """An estimate of the bytes that it takes."""
    _sizes: dict[bytes, int] = field(factory=dict, init=False)
    _watchers: dict[bytes, dict[Watcher, None]] = field(factory=dict, init=False)
    _heap: list[tuple[int, bytes]] = field(factory=list, init=False)
    """Times and keys, earliest first; an entry counts as long as `deadlines` says the same."""

    def __len__(self) -> int:
        return len(self.values)

    # -------------------------------------------------------------------------------------------------------- reading

    def find(self, key: bytes) -> Value | None:
        """The value of a key, None when it is not there or has expired."""
        deadline = self.deadlines.get(key)
        if deadline is not None and deadline <= self.wall_ms() and not self.sees_expired():
            if not self.keeps_expired():
                self.expire(key)
            return None
        return self.values.get(key)

    def is_expired(self, key: bytes) -> bool:
        """Whether the key is there and its time has come."""
        deadline = self.deadlines.get(key)
        return deadline is not None and deadline <= self.wall_ms() and not self.sees_expired()

    def string(self, key: bytes) -> bytes | None:
        """The string at a key; raises WRONGTYPE."""
        value = self.find(key)
        if value is not None and not isinstance(value, bytes):
            raise ReplyError(WRONG_TYPE)
        return value

    def hash(self, key: bytes) -> Hash | None:
        """The hash at a key; raises WRONGTYPE."""
        value = self.find(key)
        if value is not None and not isinstance(value, Hash):
            raise ReplyError(WRONG_TYPE)
        return value

    def members(self, key: bytes) -> Members | None:
        """The set at a key; raises WRONGTYPE."""
        value = self.find(key)
        if value is not None and not isinstance(value, Members):
            raise ReplyError(WRONG_TYPE)
        return value

    def items(self, key: bytes) -> Items | None:
        """The list at a key; raises WRONGTYPE."""
        value = self.find(key)
        if value is not None and not isinstance(value, Items):
            raise ReplyError(WRONG_TYPE)
        return value

    def stream(self, key: bytes) -> Stream | None:
        """The stream at a key; raises WRONGTYPE."""
        value = self.find(key)
        if value is not None and not isinstance(value, Stream):
            raise ReplyError(WRONG_TYPE)
        return value

    def living_keys(self) -> list[bytes]:
        """The keys that have not expired."""
        return [key for key in list(self.values) if self.find(key) is not None]

    # ------------------------------------------------------------------------------------------------------- changing

    def put(self, key: bytes, value: Value, keep_deadline: bool = False) -> None:
        """Set a key; its expiry goes, unless it is to stay."""
        if not keep_deadline:
            self.deadlines.pop(key, None)
        self.values[key] = value
        self.touch(key)

    def remove(self, key: bytes) -> bool:
        """Remove a key; whether it was there."""
        if self.values.pop(key, None) is None:
            return False
        self.deadlines.pop(key, None)
        self.touch(key)
        return True

    def expire(self, key: bytes) -> None:
        """Remove a key whose time has come, and tell."""
        self.remove(key)
        self.on_expired(self, key)

    def set_deadline(self, key: bytes, deadline: int | None) -> None:
        """Let a key expire at a time, or never."""
        if deadline is None:
            self.deadlines.pop(key, None)
        else:
            self.deadlines[key] = deadline
            heappush(self._heap, (deadline, key))
        self.touch(key)

    def touch(self, key: bytes) -> None:
        """The value of a key has changed."""
        value = self.values.get(key)
        size = 0 if value is None else _OVERHEAD + len(key) + (len(value) if isinstance(value, bytes) else value.size)
        self.used += size - self._sizes.pop(key, 0)
        if size:
            self._sizes[key] = size
        for watcher in self._watchers.get(key, ()):
            watcher.spoil(self, key)
        self.on_touched(self, key)

    def clear(self) -> int:
        """Remove all keys; how many."""
        count = len(self.values)
        watched = [key for key in self._watchers if key in self.values]
        self.values.clear()
        for key in watched:
            for watcher in self._watchers[key]:
                watcher.spoil(self, key)
        self.deadlines.clear()
        self._heap.clear()
        self._sizes.clear()
        self.used = 0
        return count

    def remove_expired(self) -> None:
        """Remove all keys whose time has come, and tell."""
        while (deadline := self.next_deadline()) is not None and deadline <= self.wall_ms():
            self.expire(self._heap[0][1])

    def next_deadline(self) -> int | None:
        """The earliest time at which a key expires."""
        while self._heap and self.deadlines.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    # -------------------------------------------------------------------------------------------------------- watching

    def watch(self, key: bytes, watcher: Watcher) -> None:
        """Let `watcher` be told when a key changes."""
        self._watchers.setdefault(key, {})[watcher] = None

    def unwatch(self, key: bytes, watcher: Watcher) -> None:
        """Forget a watcher."""
        watchers = self._watchers.get(key)
        if watchers is not None:
            watchers.pop(watcher, None)
            if not watchers:
                del self._watchers[key]
