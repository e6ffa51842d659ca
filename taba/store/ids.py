"""The numbers that stand for the names of tabs and clients inside the embedded store's database.

An `Ids` belongs to one transaction: what it remembers is true only within it.
"""

from __future__ import annotations

import sqlite3

from attrs import define, field

from taba.interfaces import RETIRED
from taba.store.schema import STATE_SHIFT


@define(eq=False)
class Ids:
    """Looks names up, each once."""

    _database: sqlite3.Connection
    _tabs: dict[tuple[int, str], int | None] = field(factory=dict, init=False)
    _clients: dict[str, int | None] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._clients = {RETIRED: 0}

    def find_tab(self, vbucket: int, tab: str) -> int | None:
        """The id of a tab, or None."""
        if (vbucket, tab) not in self._tabs:
            found = self._database.execute("SELECT id FROM tabs WHERE tab = ? AND vbucket = ?", (tab, vbucket))
            self._tabs[vbucket, tab] = _only(found)
        return self._tabs[vbucket, tab]

    def find_client(self, client: str) -> int | None:
        """The id of a client, or None; of the retired State 0."""
        if client not in self._clients:
            self._clients[client] = _only(self._database.execute("SELECT id FROM clients WHERE client = ?", (client,)))
        return self._clients[client]

    def find_state(self, vbucket: int, tab: str, client: str) -> int | None:
        """The key that the State of (tab, client) has if there is one, or None when there cannot be one."""
        tab_id, client_id = self.find_tab(vbucket, tab), self.find_client(client)
        return None if tab_id is None or client_id is None else tab_id << STATE_SHIFT | client_id

    def make_tab(self, vbucket: int, tab: str) -> int:
        """The id of a tab, which is made when there is none."""
        tab_id = self.find_tab(vbucket, tab)
        if tab_id is None:
            made = self._database.execute("INSERT INTO tabs (tab, vbucket) VALUES (?, ?)", (tab, vbucket))
            tab_id = self._tabs[vbucket, tab] = made.lastrowid
        assert tab_id is not None
        return tab_id

    def make_state(self, vbucket: int, tab: str, client: str) -> int:
        """The key of the State of (tab, client); tab and client are made when there are none."""
        client_id = self.find_client(client)
        if client_id is None:
            made = self._database.execute("INSERT INTO clients (client) VALUES (?)", (client,))
            client_id = self._clients[client] = made.lastrowid
        assert client_id is not None
        return self.make_tab(vbucket, tab) << STATE_SHIFT | client_id


def _only(found: sqlite3.Cursor) -> int | None:
    row = found.fetchone()
    return None if row is None else int(row[0])
