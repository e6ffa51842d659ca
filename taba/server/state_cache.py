"""The States and running Aggregates that a be keeps in memory, bounded in bytes, the least recently used leaving
first. Pure.

It holds what the store holds, or what a checkpoint under way is about to write; when that fails the vbucket's part is
dropped whole.
"""

from __future__ import annotations

from collections import OrderedDict

from attrs import define, field

OVERHEAD = 400
"""Bytes of memory that an entry takes beside its names and its State, roughly."""

Name = tuple[str, ...]
"""(tab, client) of a State, (tab,) of a running Aggregate."""


@define
class StateCache:
    """Byte strings by (vbucket, name)."""

    max_bytes: int
    held: int = 0
    """Bytes of memory, roughly."""
    _vbuckets: dict[int, dict[Name, bytes]] = field(factory=dict)
    _order: OrderedDict[tuple[int, Name], None] = field(factory=OrderedDict)

    def get(self, vbucket: int, name: Name) -> bytes | None:
        """What is kept under a name, None when nothing is."""
        value = self._vbuckets.get(vbucket, {}).get(name)
        if value is not None:
            self._order.move_to_end((vbucket, name))
        return value

    def put(self, vbucket: int, name: Name, value: bytes | None) -> None:
        """Keep a value, or with None forget it."""
        kept = self._vbuckets.setdefault(vbucket, {})
        if value is None:
            old = kept.pop(name, None)
            if old is not None:
                self.held -= _size(name, old)
                del self._order[(vbucket, name)]
            return
        old = kept.get(name)
        kept[name] = value
        if old is None:
            self._order[(vbucket, name)] = None
            self.held += _size(name, value)
        else:
            self._order.move_to_end((vbucket, name))
            self.held += len(value) - len(old)

    def shrink(self) -> None:
        """Let the least recently used entries go until the limit holds."""
        while self.held > self.max_bytes and self._order:
            vbucket, name = next(iter(self._order))
            self.put(vbucket, name, None)

    def drop(self, vbucket: int) -> None:
        """Forget all of a vbucket."""
        for name, value in self._vbuckets.pop(vbucket, {}).items():
            self.held -= _size(name, value)
            del self._order[(vbucket, name)]


def _size(name: Name, value: bytes) -> int:
    return OVERHEAD + sum(map(len, name)) + len(value)
