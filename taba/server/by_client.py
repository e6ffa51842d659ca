"""States in the order of their clients, from a store that gives them in the order of their tabs. Pure.

A store is read several times. Each reading keeps the States of the first clients (by name) that are not done yet, as
many as the memory allows; when there is no room, the last of the clients kept is given up, and waits for a later
reading. Up to the allowed memory one reading is enough; beyond it there are as many as the States have that many
bytes. A client whose States need more room than all that is left to be read alone, tab by tab.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence

from attrs import define, field

from taba.interfaces import RETIRED, StateRow

ROW_BYTES = 300
"""Bytes of memory that a kept row takes beside its State and the name of its tab, roughly."""

Kept = tuple[str, str, bytes]
"""(tab, Type, State)."""


@define
class Reading:
    """One reading: what it keeps of the clients after `after` (all, when None), within about `max_bytes` of memory."""

    after: str | None
    max_bytes: int
    limit: str | None = field(default=None, init=False)
    """The first client that another reading is needed for; None while this one is enough."""
    held: int = field(default=0, init=False)
    """Bytes of memory, roughly."""
    _rows: dict[str, list[Kept]] = field(factory=dict, init=False)
    _bytes: dict[str, int] = field(factory=dict, init=False)
    _clients: list[str] = field(factory=list, init=False)  # ascending

    def take(self, rows: Sequence[StateRow]) -> None:
        """The next page of the store."""
        for row in rows:
            if self._wants(row.client):
                self._keep(row)
                while self.held > self.max_bytes and self._clients:
                    self._give_up()

    def _wants(self, client: str) -> bool:
        if client == RETIRED or (self.after is not None and client <= self.after):
            return False
        return self.limit is None or client < self.limit

    def _keep(self, row: StateRow) -> None:
        rows = self._rows.get(row.client)
        if rows is None:
            rows = self._rows[row.client] = []
            self._bytes[row.client] = 0
            insort(self._clients, row.client)
        rows.append((row.tab, row.type, row.state))
        size = ROW_BYTES + len(row.tab) + len(row.state)
        self._bytes[row.client] += size
        self.held += size

    def _give_up(self) -> None:
        """Forget the last client."""
        self.limit = self._clients.pop()
        del self._rows[self.limit]
        self.held -= self._bytes.pop(self.limit)

    def clients(self) -> Iterator[tuple[str, list[Kept]]]:
        """The clients kept, ascending, with their States, ascending by tab; each is let go of when it is given."""
        for client in self._clients:
            yield client, self._rows.pop(client)
