"""A SQLite database in memory that outlives the connections of a process, as a file on a disk does.

Real SQLite runs on it: SQL, constraints, transactions and SQLITE_FULL are SQLite's own. What is simulated is only
where the pages are: in a shared memory database, kept alive by a connection of this object. What is not as on a file:

* A commit is durable, always and whole. A crash rolls open transactions back, and that is all: torn writes, a lost
  tail of the write-ahead log (synchronous=NORMAL) and failed syncs of SQLite itself are not simulated.
* `PRAGMA journal_mode` stays `memory`, whatever is asked for. Connections of one process share a cache, so that a
  reader and a writer of the same table exclude each other with SQLITE_LOCKED, where WAL would let the reader go on.
* Nothing waits for a lock.
"""

from __future__ import annotations

import secrets
import sqlite3

from attrs import define, field

_MOST_PAGES = 4294967294


@define(eq=False)
class MemoryDatabase:
    """One database; `image` is what it starts with, empty for a new one. All in one thread at a time."""

    _image: bytes = b""
    _uri: str = field(default="", init=False)
    _keeper: sqlite3.Connection = field(init=False)
    _connections: list[sqlite3.Connection] = field(factory=list, init=False)
    _read_only: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._open(self._image)
        self._image = b""

    def connect(self) -> sqlite3.Connection:
        """A new connection for the process, in autocommit mode."""
        connection = self._connect()
        self._connections.append(connection)
        if self._read_only:
            connection.execute("PRAGMA query_only=1")
        return connection

    def size(self) -> int:
        """Bytes of its pages."""
        (pages,) = self._keeper.execute("PRAGMA page_count").fetchone()
        (page_size,) = self._keeper.execute("PRAGMA page_size").fetchone()
        return int(pages) * int(page_size)

    def image(self) -> bytes:
        """The bytes of a file with all that is committed; raises RuntimeError while a transaction is open, which a
        memory database cannot leave out.
        """
        if any(_in_transaction(connection) for connection in self._connections):
            raise RuntimeError("a database cannot be copied while a transaction is open in it")
        return self._serialize()

    def limit(self, extra_bytes: int | None) -> None:
        """From now on let it grow by `extra_bytes` at most, then SQLITE_FULL; None lets it grow again."""
        if extra_bytes is None:
            most = _MOST_PAGES
        else:
            (pages,) = self._keeper.execute("PRAGMA page_count").fetchone()
            (page_size,) = self._keeper.execute("PRAGMA page_size").fetchone()
            most = max(1, int(pages) + extra_bytes // int(page_size))
        self._keeper.execute(f"PRAGMA max_page_count={most}")

    def read_only(self, on: bool) -> None:
        """Let writes fail with SQLITE_READONLY, or succeed again."""
        self._read_only = on
        for connection in self._connections:
            if not _closed(connection):
                connection.execute(f"PRAGMA query_only={int(on)}")

    def close_connections(self) -> None:
        """The process is gone: its connections close, and what they had not committed is rolled back.

        The content moves to a new memory database, because statements that were never finished keep locks on the old
        one.
        """
        for connection in self._connections:
            if not _closed(connection):
                connection.rollback()
                connection.close()
        self._connections.clear()
        image = self._serialize()
        self._keeper.close()
        self._open(image)

    def close(self) -> None:
        """The database is no more."""
        for connection in self._connections:
            if not _closed(connection):
                connection.rollback()
                connection.close()
        self._connections.clear()
        self._keeper.close()

    def _serialize(self) -> bytes:
        return self._keeper.serialize() if self.size() else b""

    def _open(self, image: bytes) -> None:
        # The name must be new in the whole program: a database of the same name that some statement keeps alive would
        # be found again. It is visible nowhere, so that its randomness changes nothing.
        self._uri = f"file:taba-{secrets.token_hex(16)}?mode=memory&cache=shared"
        self._keeper = self._connect()
        if image:
            source = sqlite3.connect(":memory:")
            source.deserialize(image)
            source.backup(self._keeper)
            source.close()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._uri, timeout=0, isolation_level=None, check_same_thread=False, uri=True)


def _closed(connection: sqlite3.Connection) -> bool:
    try:
        connection.total_changes  # noqa: B018  (raises when closed, and does nothing else)
    except sqlite3.ProgrammingError:
        return True
    return False


def _in_transaction(connection: sqlite3.Connection) -> bool:
    return not _closed(connection) and connection.in_transaction
