"""What a vbucket must hold after events and operations, counted in plain Python."""

from __future__ import annotations

import json
from collections.abc import Sequence

from attrs import define, field, frozen

from tests.server.making import NOW

Event = tuple[str, str, str, float, str]
"""(client, tab, Type, time, payload JSON)."""


@frozen
class Asked:
    """An operation in a batch."""

    type: str
    tab: str
    time: float = NOW
    deleted: int | None = None

    def event(self) -> Event:
        """The event that it is."""
        more = {} if self.deleted is None else {"deleted": self.deleted}
        return "server", self.tab, self.type, NOW, json.dumps({"id": "0", "by": "me", "time": self.time, **more})


Batch = Sequence[Event | Asked]


@define
class Held:
    """What a tab or grave holds: its Type, and (client, time, payload) of each event."""

    type: str
    events: list[tuple[str, float, str]] = field(factory=list)


@define
class Recount:
    """The recount of one store."""

    tabs: dict[str, Held] = field(factory=dict)
    graves: dict[tuple[str, int], Held] = field(factory=dict)
    """(tab, milliseconds) -> what was deleted then."""
    used: set[tuple[str, int]] = field(factory=set)
    """Deletions that there were, brought back ones among them."""
    folded: int = 0
    refused: int = 0
    operations: int = 0

    def take(self, batch: Batch) -> None:
        """A batch: its events, and then its operations."""
        for each in batch:
            if not isinstance(each, Asked):
                client, tab, type, time, payload = each
                held = self.tabs.setdefault(tab, Held(type))
                if held.type != type:
                    self.refused += 1
                else:
                    self.folded += 1
                    held.events.append((client, time, payload))
        for each in batch:
            if isinstance(each, Asked):
                self.operations += 1
                if each.type == "taba.delete":
                    self._delete(each)
                elif each.type == "taba.undelete":
                    self._undelete(each)

    def _delete(self, asked: Asked) -> None:
        if asked.tab in self.tabs:
            milliseconds = int(asked.time * 1e3)
            while (asked.tab, milliseconds) in self.used:
                milliseconds += 1
            self.used.add((asked.tab, milliseconds))
            self.graves[asked.tab, milliseconds] = self.tabs.pop(asked.tab)

    def _undelete(self, asked: Asked) -> None:
        times = [milliseconds for tab, milliseconds in self.graves if tab == asked.tab]
        wanted = asked.deleted if asked.deleted is not None else max(times, default=None)
        if wanted not in times:
            return
        grave = self.graves[asked.tab, wanted]
        present = self.tabs.setdefault(asked.tab, Held(grave.type))
        if present.type == grave.type:
            del self.graves[asked.tab, wanted]
            present.events = grave.events + present.events
