"""The records that were read or written last, in memory, up to a number of bytes. Pure. When there is no more room the
value of the one that rested longest goes first, and its version a round later.

A record is never older here than on disk: while a key changes it is not here, and what a read finds is kept only when
no change began or ended after the read began.
"""

from __future__ import annotations

from collections import OrderedDict

from attrs import define, field

from taba.tako.interfaces import Found

OVERHEAD = 400
"""Bytes that a record takes beside its key and value."""


@define(eq=False)
class RecordCache:
    """Records with the first piece of their values. One thread uses it."""

    max_bytes: int
    size: int = field(default=0, init=False)
    """Bytes that are taken."""
    hits: int = field(default=0, init=False)
    misses: int = field(default=0, init=False)
    _found: OrderedDict[bytes, Found] = field(factory=OrderedDict, init=False)
    _changing: dict[bytes, int] = field(factory=dict, init=False)
    _changes: int = field(default=0, init=False)

    def get(self, key: bytes, body: bool) -> Found | None:
        """The record of a key, with its body if that is wanted; None when it is not here, which says nothing about the
        disk.
        """
        found = self._found.get(key)
        if found is None or (body and found.body is None and not found.version.tombstone):
            self.misses += 1
            return None
        self.hits += 1
        self._found.move_to_end(key)
        return found

    def read_begins(self) -> int:
        """A read begins: what it is to give to `read_ended`."""
        return self._changes

    def read_ended(self, began: int, key: bytes, found: Found | None) -> None:
        """A read, with the body, has found this."""
        if found is not None and began == self._changes and key not in self._changing:
            self._keep(key, found)

    def change_begins(self, key: bytes) -> None:
        """A key is about to change."""
        self._changes += 1
        self._changing[key] = self._changing.get(key, 0) + 1
        self._drop(key)

    def change_ended(self, key: bytes, found: Found | None) -> None:
        """A change is over, in the order in which changes are made; `found` is what is held now, None when that is not
        known.
        """
        self._changes += 1  # a read that is under way may have found what was there before
        left = self._changing.pop(key) - 1
        if left:
            self._changing[key] = left
        elif found is not None:
            self._keep(key, found)

    def _keep(self, key: bytes, found: Found) -> None:
        self._drop(key)
        size = _size(key, found)
        if size > self.max_bytes // 16:
            return
        self._found[key] = found
        self.size += size
        while self.size > self.max_bytes:
            old, gone = self._found.popitem(last=False)
            self.size -= _size(old, gone)
            if gone.body:  # most reads of a key want its version alone: that stays for another round
                self._found[old] = Found(gone.version)
                self.size += _size(old, self._found[old])

    def _drop(self, key: bytes) -> None:
        found = self._found.pop(key, None)
        if found is not None:
            self.size -= _size(key, found)


def _size(key: bytes, found: Found) -> int:
    return len(key) + len(found.body or b"") + OVERHEAD
