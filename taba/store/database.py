"""One connection to the embedded store's database: transactions that are whole or nothing, and errors in plain words.

A `Database` is used by one thread at a time. It opens its connection when it is first needed, and opens another one
after an error that could not be rolled back, so that a disk that was full, or away, for a while needs no restart.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Concatenate, ParamSpec, TypeVar

from attrs import define, field

from taba.errors import StoreUnavailable
from taba.interfaces import IFolder

P = ParamSpec("P")
T = TypeVar("T")


@define(eq=False)
class Database:
    """A connection to a database in a folder."""

    _folder: IFolder
    _name: str
    _prepare: Callable[[sqlite3.Connection, str], None]
    """Called with each connection, and the folder's path, before it is used."""
    _begin: str
    """The statement that begins each transaction."""
    _open: sqlite3.Connection | None = field(default=None, init=False)

    def run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do `work` in one transaction.

        Raises StoreUnavailable for whatever SQLite or the disk cannot do, and what `work` raises; then nothing of it
        was done, or, when the commit itself failed, perhaps all of it.
        """
        try:
            connection = self._connection()
            connection.execute(self._begin)
            result = work(connection, *args, **kwargs)
            connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._undo()
            raise StoreUnavailable(explain(error, self._folder.path)) from error
        except BaseException:
            self._undo()
            raise
        return result

    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            connection = self._folder.database(self._name)
            try:
                self._prepare(connection, self._folder.path)
            except BaseException:
                connection.close()
                raise
            self._open = connection
        return self._open

    def _undo(self) -> None:
        """Roll back, or, when that fails, give the connection up: what it did not commit goes with it."""
        if self._open is None:
            return
        try:
            if self._open.in_transaction:
                self._open.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()

    def close(self) -> None:
        """Close the connection. Idempotent; `run` would open it again."""
        connection, self._open = self._open, None
        if connection is not None:
            # Whatever it had to say, it said to the transaction that failed; nothing uncommitted is of worth.
            with suppress(sqlite3.Error):
                connection.close()


def explain(error: sqlite3.Error | OSError, path: str) -> str:
    """What went wrong, and what to do, in a sentence."""
    primary = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    damaged = f"the database in {path} is damaged: restore the folder from a backup, or move it away"
    busy = f"another program uses the database in {path}: close it"
    sentences = {
        sqlite3.SQLITE_FULL: f"the disk of {path} is full: make room on it",
        sqlite3.SQLITE_READONLY: f"the database in {path} cannot be written: make the folder and its files writable",
        sqlite3.SQLITE_BUSY: busy,
        sqlite3.SQLITE_LOCKED: busy,
        sqlite3.SQLITE_CORRUPT: damaged,
        sqlite3.SQLITE_NOTADB: damaged,
        sqlite3.SQLITE_CANTOPEN: f"the database in {path} cannot be opened: look at the folder's owner and permissions",
        sqlite3.SQLITE_IOERR: f"the disk of {path} failed: look at the system's log",
    }
    return f"{sentences.get(primary, f'the database in {path} failed')} ({error})"
