"""What the embedded store reads of States, Aggregates and ledgers.

Plain functions are for one transaction. The walks are generators that are resumed in later transactions: within one
they see one moment, between two of them whatever was written. Ids of tabs and clients are never used twice, so what
has gone is just not found; nor is a tab that got another name before its turn came.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence

from taba.interfaces import RETIRED, AggregateRow, Loaded, Position, Selection, StateRow
from taba.store.ids import Ids
from taba.store.judge import FLUSHED, LOST
from taba.store.schema import CLIENT_MASK, STATE_SHIFT

_TABS_AT_A_TIME = 500

Moment = Callable[[], int]
"""Which transaction a walk is in: another number for each."""


def _at_once() -> int:
    """All of a walk is in one transaction."""
    return 0


def load(database: sqlite3.Connection, vbucket: int, lineage: str) -> Loaded:
    """What a be needs to go on with a vbucket."""
    folded, commits, ledger = database.execute(
        "SELECT folded, commits, ledger FROM vbuckets WHERE vbucket = ?", (vbucket,)
    ).fetchone()
    types = database.execute("SELECT tab, type FROM tabs WHERE vbucket = ? AND type IS NOT NULL", (vbucket,))
    return Loaded(vbucket, Position(folded, commits), lineage, dict(types.fetchall()), json.loads(ledger))


def states(database: sqlite3.Connection, vbucket: int, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
    """The States of (tab, client) pairs."""
    ids, lookup = Ids(database), database.cursor()
    found = {}
    for name in keys:
        key = ids.find_state(vbucket, *name)
        row = None if key is None else lookup.execute("SELECT state FROM states WHERE key = ?", (key,)).fetchone()
        if row:
            found[name] = row[0]
    return found


def aggregates(database: sqlite3.Connection, vbucket: int, tabs: Sequence[str]) -> dict[str, bytes]:
    """The running Aggregates of tabs."""
    found = {}
    for tab in tabs:
        row = database.execute(
            "SELECT aggregate FROM tabs JOIN aggregates ON aggregates.tab = tabs.id"
            " WHERE tabs.tab = ? AND tabs.vbucket = ?",
            (tab, vbucket),
        ).fetchone()
        if row:
            found[tab] = row[0]
    return found


def all_tabs(database: sqlite3.Connection) -> dict[str, str]:
    """Tab -> Type."""
    return dict(database.execute("SELECT tab, type FROM tabs WHERE type IS NOT NULL").fetchall())


def some_tabs(database: sqlite3.Connection, wanted: frozenset[str]) -> dict[str, str]:
    """Tab -> Type, of those of `wanted` that there are."""
    return {tab: type_name for _, tab, type_name in _walk_tabs(database, wanted) if type_name}


def all_clients(database: sqlite3.Connection) -> set[str]:
    """The clients with a State."""
    return {client for (client,) in database.execute("SELECT client FROM clients WHERE tabs > 0").fetchall()}


def clients_of(database: sqlite3.Connection, tabs: frozenset[str]) -> set[str]:
    """The clients with a State in any of `tabs`."""
    return {
        client for tab_id, _, _ in _walk_tabs(database, tabs) for client, _ in _clients_of_tab(database, tab_id)
    } - {RETIRED}


def ledger(database: sqlite3.Connection) -> dict[str, int]:
    """The sum of all rows, with the store's own lines."""
    rows = database.execute("SELECT lost, flushed, ledger FROM vbuckets").fetchall()
    total = {LOST: sum(lost for lost, _, _ in rows), FLUSHED: sum(flushed for _, flushed, _ in rows)}
    for _, _, row in rows:
        for line, count in json.loads(row).items():
            total[line] = total.get(line, 0) + count
    return total


# ------------------------------------------------------------------------------------------------------------ walks


def walk_states(database: sqlite3.Connection, selection: Selection, moment: Moment = _at_once) -> Iterator[StateRow]:
    """The selected States, ascending by (tab, client)."""
    clients = None if selection.clients is None else _find_clients(database, selection.clients)
    lookup = database.cursor()  # one for all: this is the innermost loop of every query
    for tab_id, tab, type_name in _walk_tabs(database, selection.tabs, moment):
        first = tab_id << STATE_SHIFT
        for client, client_id in _clients_of_tab(database, tab_id) if clients is None else clients:
            row = lookup.execute("SELECT state FROM states WHERE key = ?", (first | client_id,)).fetchone()
            if row:
                yield StateRow(tab, client, type_name, row[0])


def walk_aggregates(
    database: sqlite3.Connection, tabs: frozenset[str] | None, moment: Moment = _at_once
) -> Iterator[AggregateRow]:
    """The running Aggregates of `tabs`, ascending by tab."""
    lookup = database.cursor()
    for tab_id, tab, type_name in _walk_tabs(database, tabs, moment):
        row = lookup.execute("SELECT aggregate FROM aggregates WHERE tab = ?", (tab_id,)).fetchone()
        if row:
            yield AggregateRow(tab, type_name, row[0])


def _walk_tabs(
    database: sqlite3.Connection, tabs: frozenset[str] | None, moment: Moment = _at_once
) -> Iterator[tuple[int, str, str]]:
    """(id, tab, Type) of the selected tabs, ascending by tab; a tab whose Type was not written has ""."""
    lists = _list_all_tabs(database) if tabs is None else _list_tabs(database, sorted(tabs))
    for rows in lists:
        listed = moment()
        for tab_id, tab, type_name in rows:
            if moment() == listed:
                yield tab_id, tab, type_name
                continue
            # Since then it may have got another name, or Type.
            now = database.execute("SELECT coalesce(type, '') FROM tabs WHERE id = ? AND tab = ?", (tab_id, tab))
            for (present,) in now.fetchall():
                yield tab_id, tab, present


def _list_tabs(database: sqlite3.Connection, names: Sequence[str]) -> Iterator[list[tuple[int, str, str]]]:
    for start in range(0, len(names), _TABS_AT_A_TIME):
        some = names[start : start + _TABS_AT_A_TIME]
        yield database.execute(
            f"SELECT id, tab, coalesce(type, '') FROM tabs WHERE tab IN ({','.join('?' * len(some))})"
            " ORDER BY tab, vbucket",
            some,
        ).fetchall()


def _list_all_tabs(database: sqlite3.Connection) -> Iterator[list[tuple[int, str, str]]]:
    after = "", -1
    while True:
        rows = database.execute(
            "SELECT id, tab, coalesce(type, ''), vbucket FROM tabs WHERE (tab, vbucket) > (?, ?)"
            " ORDER BY tab, vbucket LIMIT ?",
            (*after, _TABS_AT_A_TIME),
        ).fetchall()
        yield [(tab_id, tab, type_name) for tab_id, tab, type_name, _ in rows]
        if len(rows) < _TABS_AT_A_TIME:
            return
        after = rows[-1][1], rows[-1][3]


def _find_clients(database: sqlite3.Connection, clients: frozenset[str]) -> list[tuple[str, int]]:
    """(client, id) of those of `clients` that there are, ascending by client, without RETIRED."""
    ids = Ids(database)
    found = [(client, ids.find_client(client)) for client in sorted(clients - {RETIRED})]
    return [(client, client_id) for client, client_id in found if client_id is not None]


def _clients_of_tab(database: sqlite3.Connection, tab_id: int) -> list[tuple[str, int]]:
    """(client, id) of all States of a tab, RETIRED among them, ascending by client."""
    first = tab_id << STATE_SHIFT
    rows = database.execute(
        f"SELECT coalesce(client, ?), key & {CLIENT_MASK} FROM states LEFT JOIN clients ON id = key & {CLIENT_MASK}"
        " WHERE key BETWEEN ? AND ? ORDER BY 1",
        (RETIRED, first, first | CLIENT_MASK),
    )
    return rows.fetchall()
