"""Which States the GC prunes. Pure.

* A State of which nothing can be seen any more, as its Handler says.
* A State of a Type with a running Aggregate that never expires, when its newest event is older than CLIENT_TTL; not
  where TABS says `keep`.
* Every State of a client of such a Type where TABS says `merge`.

What is pruned of a Type with a running Aggregate goes into the tab's retired State, so that the Aggregate stays the
reduced States. When nothing but a retired State is left that cannot be seen any more, it and the Aggregate go together.
Tabs keep their names and Types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import define, field, frozen

from taba.handlers.registry import Registry
from taba.interfaces import RETIRED, IHandler, StateRow
from taba.server.chores import Change, Key, retiring
from taba.server.keeping import KEEP, Keeping

HINDSIGHT = 90.0
"""Seconds: answers show what was 30 s before the time of asking, and the clocks of servers differ."""
TABS_AT_A_TIME = 100
"""Of how many tabs the States are read in one query. Of more than that, a store on Redis reads all names there are."""


@frozen
class Pruning:
    """What is pruned. `client_ttl` is in seconds."""

    registry: Registry
    keeping: Keeping = field(factory=Keeping)
    client_ttl: float = 604_800.0

    def prunes(self, handler: IHandler, tab: str, client: str, state: bytes, now: float) -> bool:
        """Whether a State is pruned at wall time `now`; one that cannot be read is not."""
        if client == RETIRED:
            return False
        if handler.running_aggregate and self.keeping.merges(tab):
            return True
        try:
            if handler.expired(handler.upgrade(state), now - HINDSIGHT):
                return True
            if not handler.running_aggregate or self.keeping.of(tab) == KEEP:
                return False
            return handler.newest(handler.upgrade(state)) < now - self.client_ttl
        except Exception:  # damaged, or a Handler that anybody wrote
            return False

    def unseen(self, handler: IHandler, state: bytes, now: float) -> bool:
        """Whether nothing of a State can be seen any more."""
        try:
            return handler.expired(handler.upgrade(state), now - HINDSIGHT)
        except Exception:  # as above
            return False


@define
class Collecting:
    """What is to be pruned of some tabs, found while their States are read in order."""

    pruning: Pruning
    now: float
    """Wall time."""
    keys: list[Key] = field(factory=list)
    _handlers: dict[str, IHandler] = field(factory=dict)
    """Of the tabs that were met."""
    _seen: set[str] = field(factory=set)
    """Tabs of which something may be seen still."""

    def take(self, row: StateRow) -> None:
        """The next State."""
        handler = self.pruning.registry.get(row.type)
        if handler is None:
            self._seen.add(row.tab)
            return
        self._handlers[row.tab] = handler
        if self.pruning.prunes(handler, row.tab, row.client, row.state, self.now):
            self.keys.append((row.tab, row.client))
        if row.tab not in self._seen and not self.pruning.unseen(handler, row.state, self.now):
            self._seen.add(row.tab)

    def taken(self) -> list[Key]:
        """What was found since the last call."""
        keys, self.keys = self.keys, []
        return keys

    def retired(self, keys: Iterable[Key]) -> list[Key]:
        """The keys of the retired States into which those of `keys` would go."""
        return [(tab, RETIRED) for tab in dict.fromkeys(tab for tab, _ in keys)]

    def change(self, keys: Sequence[Key], states: Mapping[Key, bytes]) -> Change:
        """What prunes those of `keys` that are still to be pruned. `states` are the present ones, and the retired."""
        due = [
            (tab, client)
            for tab, client in keys
            if (state := states.get((tab, client))) is not None
            and self.pruning.prunes(self._handlers[tab], tab, client, state, self.now)
        ]
        return retiring(self._handlers, states, due)

    def bare(self) -> list[str]:
        """The tabs with a running Aggregate of which nothing can be seen any more."""
        return [tab for tab, handler in self._handlers.items() if handler.running_aggregate and tab not in self._seen]


def emptied(pruning: Pruning, tab: str, rows: Sequence[StateRow], now: float) -> Change | None:
    """What removes the Aggregate of a tab whose States are `rows`; None while there is anything to be seen."""
    for row in rows:
        handler = pruning.registry.get(row.type)
        if row.client != RETIRED or handler is None or not pruning.unseen(handler, row.state, now):
            return None
    return Change(states={(tab, row.client): None for row in rows}, aggregates={tab: None})
