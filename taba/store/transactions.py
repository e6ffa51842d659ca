"""The embedded store's transactions, off the reactor: who does them, in what order, and how they begin and end.

Two connections, one for what writes and one for what reads, so that no query keeps an append waiting. Each is used by a
Worker of its own, which does what it is given one after the other and in order. That order is what makes closing safe,
and a read see every write that was answered before it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, fail

from taba.errors import StartError, StoreUnavailable
from taba.interfaces import IFolder
from taba.process import Worker
from taba.store import schema
from taba.store.database import Database

P = ParamSpec("P")
T = TypeVar("T")

DATABASE = "store.db"
"""The name of the database in its folder."""


@define(eq=False)
class Transactions:
    """The database of a folder, which is locked from `open` to `close`. Opened once: the Workers end with it."""

    _folder: IFolder
    _writer: Worker
    _reader: Worker
    _written: Database = field(init=False)
    """The connection of `_writer`."""
    _read_only: Database = field(init=False)
    """The connection of `_reader`."""
    _is_open: bool = field(default=False, init=False)
    _is_closed: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._written = Database(self._folder, DATABASE, schema.open_writer, "BEGIN IMMEDIATE")
        self._read_only = Database(self._folder, DATABASE, schema.open_reader, "BEGIN")

    # --------------------------------------------------------------------------------------------- open and close

    async def open(self, establish: Callable[[sqlite3.Connection, str], T]) -> T:
        """Lock the folder and open the database; `establish` gets it, and the path, in the first transaction.

        Fails with StartError, whose text says what to do; then nothing is locked, and the Workers have ended.
        """
        try:
            established: T = await self._writer(self._establish, establish)
        except Exception as error:
            await self._stop_workers()
            if isinstance(error, StoreUnavailable | OSError):
                raise StartError(f"The store cannot be opened: {error}.") from error
            raise
        self._is_open = not self._is_closed  # it may have been closed meanwhile
        return established

    def _establish(self, establish: Callable[[sqlite3.Connection, str], T]) -> T:
        """Lock and open, in the writer's thread; when that fails, undo it."""
        self._folder.lock()
        try:
            established = self._written.run(establish, self._folder.path)
            # SQLite makes its contents durable, but not its name in the folder.
            self._folder.sync()
        except BaseException:
            self._close_written()
            raise
        return established

    def _close_written(self) -> None:
        self._written.close()
        self._folder.unlock()

    async def close(self) -> None:
        """Finish what is under way, close the database and unlock the folder. What is asked from now on fails."""
        self._is_open, self._is_closed = False, True
        # Both come after all that was asked before. The writer is the last to close, because the last connection to
        # close moves the write-ahead log to the database, which the reader must not do.
        await self._reader(self._read_only.close)
        await self._writer(self._close_written)
        await self._stop_workers()

    async def _stop_workers(self) -> None:
        await self._reader.stop()
        await self._writer.stop()

    # ------------------------------------------------------------------------------------------------ transactions

    def check(self) -> None:
        """Raise StoreUnavailable when the database is not open."""
        if not self._is_open:
            raise _closed()

    def write(
        self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[T]:
        """Do `work` in a transaction of the writer; see `Database.run` for how it fails."""
        if not self._is_open:
            return fail(_closed())
        return self._writer(self._written.run, work, *args, **kwargs)

    def query(
        self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[T]:
        """Do `work` in a transaction of the reader; see `Database.run` for how it fails."""
        if not self._is_open:
            return fail(_closed())
        return self._reader(self._read_only.run, work, *args, **kwargs)


def _closed() -> StoreUnavailable:
    return StoreUnavailable("the store is closed")
