"""Reading a whole embedded store, row by row, for whoever copies it elsewhere. Blocking, and in pages: no more than a
page of anything is in memory at a time.

An `Export` sees one moment of the store: the folder is locked for as long as it is open, so that no server writes to
it. Opening it brings a database of an older format to the present one, as a server's start does.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, frozen

from taba.errors import StartError, StoreUnavailable
from taba.interfaces import RETIRED, IFolder, SetAside
from taba.store import aside_rows, schema
from taba.store.database import explain
from taba.store.judge import LaneRow
from taba.store.transactions import DATABASE

PAGE_ROWS = 1000
"""Rows of a page at most."""
PAGE_BYTES = 1 << 20
"""A page gets no further row beyond so many bytes."""


@frozen
class VbucketRow:
    """What the store knows of one vbucket beside its rows."""

    vbucket: int
    last_id: int
    """Of the log, whose entries from `folded` + 1 on are there."""
    folded: int
    commits: int
    epoch: int
    """The highest that was granted."""
    lost: int
    flushed: int
    ledger: Mapping[str, int]
    """The row as be wrote it."""


@frozen
class LoggedRow:
    """A log entry that is not folded yet."""

    id: int
    appended: float
    events: int
    body: bytes


@frozen
class Counts:
    """How much a store holds."""

    tabs: int
    states: int
    clients: int
    aggregates: int
    lanes: int
    entries: int
    """Batches that wait in logs."""
    events: int
    """The events of these."""
    aside: int


@define(eq=False)
class Export:
    """One moment of the store in `folder`, which is locked until `close`. See `open_export`."""

    folder: IFolder
    identity: schema.Identity
    _database: sqlite3.Connection

    def close(self) -> None:
        """Give the folder back."""
        with suppress(sqlite3.Error):
            self._database.close()
        self.folder.unlock()

    def counts(self) -> Counts:
        """How much there is in all."""
        one = self._one
        return Counts(
            tabs=one("SELECT count(*) FROM tabs"),
            states=one("SELECT count(*) FROM states"),
            clients=one("SELECT count(*) FROM clients"),
            aggregates=one("SELECT count(*) FROM aggregates"),
            lanes=one("SELECT count(*) FROM lanes"),
            entries=one("SELECT count(*) FROM log"),
            events=one("SELECT coalesce(sum(events), 0) FROM log"),
            aside=one("SELECT count(*) FROM aside"),
        )

    def _one(self, statement: str) -> int:
        return int(self._rows(statement)[0][0])

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a statement that gives few. Raises StoreUnavailable, with what to do."""
        try:
            return self._database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StoreUnavailable(explain(error, self.folder.path)) from error

    def vbucket(self, vbucket: int) -> VbucketRow:
        """The facts of a vbucket, which must exist."""
        last_id, folded, commits, epoch, lost, flushed, ledger = self._rows(
            "SELECT last_id, folded, commits, epoch, lost, flushed, ledger FROM vbuckets WHERE vbucket = ?", (vbucket,)
        )[0]
        return VbucketRow(vbucket, last_id, folded, commits, epoch, lost, flushed, json.loads(ledger))

    def types(self, vbucket: int) -> dict[str, str]:
        """Tab -> Type of all tabs of a vbucket, notes among them; "" for what has no Type."""
        rows = self._rows("SELECT tab, coalesce(type, '') FROM tabs WHERE vbucket = ? ORDER BY tab", (vbucket,))
        return dict(rows)

    def clients(self, vbucket: int) -> dict[str, int]:
        """Client -> number of its States in a vbucket; RETIRED among them."""
        rows = self._rows(
            "SELECT clients.client, count(*) FROM tabs"
            f" JOIN states ON states.key BETWEEN tabs.id << {schema.STATE_SHIFT}"
            f" AND (tabs.id << {schema.STATE_SHIFT}) + {schema.CLIENT_MASK}"
            f" LEFT JOIN clients ON clients.id = states.key & {schema.CLIENT_MASK}"
            " WHERE tabs.vbucket = ? GROUP BY clients.client ORDER BY clients.client",
            (vbucket,),
        )
        return {RETIRED if client is None else client: count for client, count in rows}

    def states(self, vbucket: int, tab: str) -> Iterator[list[tuple[str, bytes]]]:
        """Pages of (client, State) of a tab; RETIRED among the clients."""
        tab_id = self._rows("SELECT id FROM tabs WHERE vbucket = ? AND tab = ?", (vbucket, tab))[0][0]
        first, last = tab_id << schema.STATE_SHIFT, ((tab_id + 1) << schema.STATE_SHIFT) - 1
        statement = (
            "SELECT states.key, coalesce(clients.client, ?), state FROM states"
            f" LEFT JOIN clients ON clients.id = states.key & {schema.CLIENT_MASK}"
            " WHERE states.key BETWEEN ? AND ? ORDER BY states.key LIMIT ?"
        )
        while page := _page(self._rows(statement, (RETIRED, first, last, PAGE_ROWS))):
            yield [(client, state) for _, client, state in page]
            first = page[-1][0] + 1

    def aggregates(self, vbucket: int) -> Iterator[list[tuple[str, bytes]]]:
        """Pages of (tab, running Aggregate) of a vbucket."""
        statement = (
            "SELECT tabs.id, tabs.tab, aggregate FROM tabs JOIN aggregates ON aggregates.tab = tabs.id"
            " WHERE tabs.vbucket = ? AND tabs.id > ? ORDER BY tabs.id LIMIT ?"
        )
        after = 0
        while page := _page(self._rows(statement, (vbucket, after, PAGE_ROWS))):
            yield [(tab, aggregate) for _, tab, aggregate in page]
            after = page[-1][0]

    def lanes(self, vbucket: int) -> Iterator[list[tuple[str, LaneRow]]]:
        """Pages of (incarnation, dedup row) of a vbucket."""
        statement = (
            "SELECT incarnation, last, checksum, events, touched FROM lanes"
            " WHERE vbucket = ? AND incarnation > ? ORDER BY incarnation LIMIT ?"
        )
        after = b""
        while page := self._rows(statement, (vbucket, after, PAGE_ROWS)):
            yield [(incarnation.hex(), LaneRow(*row)) for incarnation, *row in page]
            after = page[-1][0]

    def log(self, vbucket: int) -> Iterator[list[LoggedRow]]:
        """Pages of the log of a vbucket."""
        statement = "SELECT key, appended, events, body FROM log WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?"
        first, last = schema.log_key(vbucket, 0), schema.last_log_key(vbucket)
        while page := _page(self._rows(statement, (first, last, PAGE_ROWS))):
            yield [LoggedRow(key - schema.log_key(vbucket, 0), *row) for key, *row in page]
            first = page[-1][0] + 1

    def aside(self) -> list[SetAside]:
        """What is set aside, the oldest first. It is bounded, so it comes whole."""
        try:
            return aside_rows.newest(self._database, 1 << 30)[::-1]
        except sqlite3.Error as error:
            raise StoreUnavailable(explain(error, self.folder.path)) from error


def _page(rows: list[Any]) -> list[Any]:
    """The first of rows that end with bytes, up to PAGE_BYTES; one at least where there is any."""
    size = 0
    for at, row in enumerate(rows):
        size += len(row[-1])
        if size > PAGE_BYTES and at:
            return rows[:at]
    return rows


def open_export(folder: IFolder) -> Export:
    """Lock a folder and read the store in it.

    Raises FolderLocked while a server uses it, and StartError, whose text says what to do, where there is no store of
    ours or it cannot be read.
    """
    if DATABASE not in folder.names():
        raise StartError(f"There is no embedded store in {folder.path}: it has no {DATABASE}.")
    folder.lock()
    database: sqlite3.Connection | None = None
    try:
        database = folder.database(DATABASE)
        schema.open_writer(database, folder.path)
        identity = _identity(database, folder.path)
    except (sqlite3.Error, OSError) as error:
        _give_up(folder, database)
        raise StartError(f"The store cannot be read: {explain(error, folder.path)}.") from error
    except BaseException:
        _give_up(folder, database)
        raise
    return Export(folder, identity, database)


def _give_up(folder: IFolder, database: sqlite3.Connection | None) -> None:
    if database is not None:
        with suppress(sqlite3.Error):
            database.close()
    folder.unlock()


def _identity(database: sqlite3.Connection, path: str) -> schema.Identity:
    """Whose the store is; an older format becomes the present one."""
    if not database.execute("PRAGMA user_version").fetchone()[0]:
        raise StartError(f"The database in {path} has no store in it: no server has started on it yet.")
    kept = dict(database.execute("SELECT name, value FROM cluster").fetchall())
    database.execute("BEGIN IMMEDIATE")
    try:
        identity = schema.establish(database, path, int(kept["vbuckets"]), _no_new_id)
        database.execute("COMMIT")
    except BaseException:
        database.execute("ROLLBACK")
        raise
    return identity


def _no_new_id() -> str:
    raise AssertionError("a store that there is has an id")
