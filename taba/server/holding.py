"""What a be holds of the vbuckets that it has leases of: what it folded, and the States that it keeps in memory."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import inlineCallbacks

from taba import native
from taba.interfaces import Checkpoint, IStore, LogEntry
from taba.server.folding import Folding
from taba.server.generations import Key
from taba.server.state_cache import Name, StateCache


class Holding:
    """The vbuckets in the hands of one be."""

    def __init__(self, store: IStore, max_cache_bytes: int) -> None:
        self._store = store
        self.cache = StateCache(max_cache_bytes)
        self.folding: dict[int, Folding] = {}
        self._max_bytes = max_cache_bytes
        self._cooled = -1

    def holds(self, folding: Folding) -> bool:
        """Whether this is what is held of its vbucket: it may have been dropped, and loaded again, meanwhile."""
        return self.folding.get(folding.lease.vbucket) is folding

    def drop(self, vbucket: int) -> bool:
        """Forget what is held of a vbucket; whether anything was."""
        if self.folding.pop(vbucket, None) is None:
            return False
        self.cache.drop(vbucket)
        return True

    @inlineCallbacks
    def states_of(self, vbucket: int, keys: Sequence[Key], tabs: Sequence[str]):  # type: ignore[no-untyped-def]
        """The States and running Aggregates of a vbucket, as the last checkpoint left them, from memory where they are
        there; those that there are not are missing. StoreError when the store does not give the others.
        """
        states: dict[Key, bytes] = {}
        aggregates: dict[str, bytes] = {}
        cold = [key for key in keys if not self._kept(vbucket, key, states, key)]
        cold_tabs = [tab for tab in tabs if not self._kept(vbucket, (tab,), aggregates, tab)]
        if cold:
            states.update((yield self._store.states(vbucket, cold)))
        if cold_tabs:
            aggregates.update((yield self._store.aggregates(vbucket, cold_tabs)))
        return states, aggregates

    def _kept(self, vbucket: int, name: Name, into: dict[Any, bytes], key: Any) -> bool:
        """Put what is in memory under a name into a dict; whether there was something."""
        folding = self.folding.get(vbucket)
        value = None if folding is None else folding.hot.get(name[0], name[1] if len(name) > 1 else native.AGGREGATE)
        if value is None:
            value = self.cache.get(vbucket, name)
        if value is not None:
            into[key] = value
        return value is not None

    def remember(self, checkpoint: Checkpoint) -> None:
        """Keep in memory what is about to be written."""
        vbucket = checkpoint.lease.vbucket
        hot = self.folding[vbucket].remember(checkpoint)
        if checkpoint.renames:
            self.cache.drop(vbucket)  # States move under other names, all of a tab's at once
            return
        for key, state in checkpoint.states.items():
            self.cache.put(vbucket, key, None if key in hot else state)
        for tab, aggregate in checkpoint.aggregates.items():
            self.cache.put(vbucket, (tab,), None if (tab, native.AGGREGATE) in hot else aggregate)

    def shrink(self) -> None:
        """Let what was not used for longest go from memory until the limit holds, about."""
        hot = sum(each.hot.memory for each in self.folding.values())
        for vbucket in self._turns():
            if hot <= self._max_bytes:
                break
            self._cooled, folding = vbucket, self.folding[vbucket]
            before = folding.hot.memory
            folding.cool(keep=True)
            if 2 * folding.hot.memory > before:  # most of it was used: something has to go
                folding.cool(keep=False)
            hot += folding.hot.memory - before
        self.cache.max_bytes = max(0, self._max_bytes - hot)
        self.cache.shrink()

    def _turns(self) -> list[int]:
        """The vbuckets, beginning behind the one that was cooled last."""
        held = sorted(self.folding)
        start = bisect(held, self._cooled)
        return held[start:] + held[:start]

def passed_over(
    read: Mapping[int, Folding], after: Mapping[int, int], entries: Iterable[LogEntry]
) -> list[int]:
    """The vbuckets whose log, read `after` what was folded of it, does not go on there: it was flushed, or another be
    has folded it further. What is held of them is not what the store has.
    """
    first: dict[int, LogEntry] = {}
    for entry in entries:
        first.setdefault(entry.vbucket, entry)
    return [
        vbucket
        for vbucket, entry in first.items()
        if entry.id > after[vbucket] + 1 and read[vbucket].folded == after[vbucket]
    ]
