"""The records of a node in a SQLite database: `IRecords`, with one commit, synced to disk, for all that waits.

What changes is done in the writer's thread, all that was asked for while the last commit was under way in one
transaction; what reads is gathered likewise for the reader's thread. A transaction that fails is undone, and each of
its changes tried again alone, so that one that the disk has no room for does not take others with it.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from taba.errors import StartError, StoreUnavailable
from taba.interfaces import IFolder
from taba.process import Worker
from taba.store.database import Database
from taba.tako import tables
from taba.tako.cache import RecordCache
from taba.tako.errors import Damaged, DiskFull, Gone, StorageFailed
from taba.tako.interfaces import Found, IRecords, Walked, Write
from taba.tako.merkle import Leaves
from taba.tako.records import MAX_VALUE, PIECE, Version, checksum_of, new_checksum

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]

MAX_GROUP = 512
"""Changes in one commit."""
MAX_GROUP_BYTES = 16 * 1024 * 1024
SMALL = 4_096
"""Bytes of a value that is kept in memory also when only its version was asked for."""
MAX_NOTES = 1_000_000
"""Notes kept for one node; healing finds what has none."""


@define(eq=False)
class Upload:
    """A value that comes in pieces."""

    value: int
    pieces: int = 0
    size: int = 0
    checksum: Any = field(factory=new_checksum)


@define(eq=False)
class Gathering:
    """Work for one connection: one transaction for all that came while the last one was under way."""

    database: Database
    worker: Worker
    soon: Callable[[Callable[[], object]], object]
    """Calls a function at the next turn of the reactor: what is asked in one turn goes into one transaction."""
    on_doubt: Callable[[], None] = lambda: None
    """Called after a transaction failed, of which perhaps more was done than is known."""
    _doubt: bool = field(default=False, init=False)
    _waiting: list[tuple[Work, int, Deferred[Any]]] = field(factory=list, init=False)
    _busy: bool = field(default=False, init=False)

    def ask(self, work: Work, size: int = 0) -> Deferred[Any]:
        """Do `work`, which keeps some `size` bytes in memory until then."""
        done: Deferred[Any] = Deferred()
        self._waiting.append((work, size, done))
        if not self._busy:
            self._busy = True
            self.soon(self._next)
        return done

    def _next(self) -> None:
        group, size = [], 0
        for item in self._waiting[:MAX_GROUP]:
            group.append(item)
            size += item[1]
            if size > MAX_GROUP_BYTES:
                break
        self._busy = bool(group)
        if not group:
            return
        del self._waiting[: len(group)]
        self.worker(self._run, [work for work, _, _ in group]).addBoth(self._ended, [done for _, _, done in group])

    def _run(self, works: list[Work]) -> list[Any]:
        """Results, or Failures, in the worker's thread."""
        try:
            return list(self.database.run(lambda database: [work(database) for work in works]))
        except Exception as problem:
            self._doubt = self._doubt or isinstance(problem, StoreUnavailable)
            if len(works) == 1:
                return [Failure(_storage_failed(problem))]
            return [result for work in works for result in self._run([work])]

    def _ended(self, results: Any, waiting: list[Deferred[Any]]) -> None:
        self._next()
        if isinstance(results, Failure):
            results = [results] * len(waiting)
        for result, done in zip(results, waiting, strict=True):
            done.callback(result)
        if self._doubt:
            self._doubt = False
            self.on_doubt()


def _storage_failed(problem: Exception) -> Exception:
    if not isinstance(problem, StoreUnavailable):
        return problem
    cause = problem.__cause__
    full = (getattr(cause, "sqlite_errorcode", 0) & 0xFF) == sqlite3.SQLITE_FULL
    full = full or (isinstance(cause, OSError) and cause.errno == errno.ENOSPC)
    return DiskFull(str(problem)) if full else StorageFailed(str(problem))


@implementer(IRecords)
class SqliteRecords(Service):
    """`IRecords` in the file `name` of a folder, which is locked while the service runs. It is started once."""

    def __init__(
        self, folder: IFolder, name: str, node: str, new_id: Callable[[], str], limit: Callable[[], int],
        writer: Worker, reader: Worker, soon: Callable[[Callable[[], object]], object],
        cache_bytes: int = 0,
    ) -> None:  # fmt: skip
        """`limit` gives the latest stamp that the clock here accepts (see `Write.limit`); `soon` calls a function at
        the next turn of the reactor.
        """
        self.cache = RecordCache(cache_bytes)
        self.leaves = Leaves()
        self.store_id = ""
        self._folder, self._node, self._new_id, self._limit = folder, node, new_id, limit
        self._writer, self._reader = writer, reader
        self._written = Database(folder, name, tables.prepare_writer, "BEGIN IMMEDIATE")
        self._read = Database(folder, name, tables.prepare_reader, "BEGIN")
        self._changes = Gathering(self._written, writer, soon, self._count_leaves)
        self._queries = Gathering(self._read, reader, soon)
        self._uploads: dict[str, Upload] = {}
        self._next_value = 1
        self._noted: dict[str, int] = {}

    # --------------------------------------------------------------------------------------------- start and stop

    def startService(self) -> Deferred[None]:
        """Lock the folder and open the database; StartError says what is in the way."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        try:
            identity, leaves = await self._writer(self._open)
        except Exception as problem:
            await self._reader.stop()
            await self._writer.stop()
            if isinstance(problem, StoreUnavailable | OSError):
                raise StartError(f"The storage of {self._node} cannot be opened: {problem}.") from problem
            raise
        self.store_id, self._next_value, self._noted = identity.store_id, identity.next_value, identity.notes
        self._set_leaves(leaves)
        Service.startService(self)

    def _set_leaves(self, rows: list[tuple[int, int, int]]) -> None:
        counted = Leaves()
        for slot, total, count in rows:
            counted.sums[slot], counted.counts[slot] = total, count
        self.leaves.replace(counted)

    def _count_leaves(self) -> None:
        """Count the leaves anew; what is committed and answered before the result comes is in it, and nothing else."""
        if self.running:
            self._changes.ask(tables.leaf_rows).addCallbacks(self._set_leaves, lambda _: None)

    def _open(self) -> tuple[tables.Identity, list[tuple[int, int, int]]]:
        self._folder.lock()
        try:
            identity = self._written.run(tables.establish, self._folder.path, self._node, self._new_id())
            self._folder.sync()
            return identity, self._written.run(tables.leaf_rows)
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        self._written.close()
        self._folder.unlock()

    def stopService(self) -> Deferred[None]:
        """Finish what is under way, close and unlock; every later call fails."""
        if not self.running:
            return Deferred.fromCoroutine(_nothing())
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._queries.ask(lambda _: None)
        await self._changes.ask(lambda _: None)
        await self._reader(self._read.close)
        await self._writer(self._close)
        await self._reader.stop()
        await self._writer.stop()

    def _query(self, work: Work) -> Deferred[Any]:
        return self._queries.ask(work) if self.running else fail(StorageFailed("the storage is closed"))

    def _change(self, work: Work, size: int = 0) -> Deferred[Any]:
        return self._changes.ask(work, size) if self.running else fail(StorageFailed("the storage is closed"))

    # --------------------------------------------------------------------------------------------------- values

    def read(self, key: bytes, body: bool) -> Deferred[Found | None]:
        """See `IRecords.read`."""
        known = self.cache.get(key, body) if self.running else None
        if known is not None:
            return succeed(known if body else Found(known.version))
        began, small = self.cache.read_begins(), SMALL if self.cache.max_bytes else 0

        def found(result: Found | None) -> Found | None:
            if result is not None and (result.body is not None or result.version.tombstone):
                self.cache.read_ended(began, key, result)
            return result if result is None or body else Found(result.version)

        asked = self._query(lambda database: tables.read(database, key, body, small))
        return asked.addCallback(found)

    def piece(self, key: bytes, version: Version, number: int) -> Deferred[bytes]:
        """See `IRecords.piece`."""
        return self._query(lambda database: tables.piece(database, key, version, number))

    def stage(self, upload: str, number: int, body: bytes) -> Deferred[None]:
        """See `IRecords.stage`."""
        known = self._uploads.get(upload)
        if known is None and number == 0:
            known = self._uploads[upload] = Upload(self._take_value())
        if known is None or number != known.pieces or len(body) > PIECE or known.size + len(body) > MAX_VALUE:
            return fail(Gone(f"piece {number} of upload {upload} is not the next one"))
        known.pieces += 1
        known.size += len(body)
        known.checksum.update(body)
        value = known.value
        return self._change(lambda database: tables.stage(database, value, number, body), len(body))

    def unstage(self, upload: str) -> Deferred[None]:
        """See `IRecords.unstage`."""
        known = self._uploads.pop(upload, None)
        if known is None:
            return Deferred.fromCoroutine(_nothing())
        value = known.value
        return self._change(lambda database: tables.unstage(database, value))

    def write(self, write: Write) -> Deferred[Version]:
        """See `IRecords.write`."""
        version, body, key = write.version, write.body, write.key
        if version.tombstone:
            value, body = 0, None
        elif write.upload is not None:
            upload = self._uploads.pop(write.upload, None)
            if upload is None:
                return fail(Gone(f"there is no upload {write.upload}"))
            value, body = upload.value, None
            if upload.size != version.size or upload.checksum.hexdigest() != version.checksum:
                self._change(lambda database: tables.unstage(database, value)).addErrback(lambda _: None)
                return fail(Damaged("the staged value is not the one that was announced"))
        else:
            if body is None or len(body) != version.size or checksum_of(body) != version.checksum:
                return fail(Damaged("the value is not the one that was announced"))
            value = self._take_value()
        limit, size, replaces = max(self._limit(), write.limit), len(body or b""), write.replaces
        self.cache.change_begins(key)
        stored = self._change(lambda database: tables.write(database, key, version, value, body, limit, replaces), size)
        known = Found(version, body) if size <= PIECE and write.upload is None else None
        return stored.addCallbacks(self._stored, self._unchanged, callbackArgs=(key, known), errbackArgs=(key,))

    def _take_value(self) -> int:
        value = self._next_value
        self._next_value += 1
        return value

    def _unchanged(self, failure: Failure, key: bytes) -> Failure:
        self.cache.change_ended(key, None)
        return failure

    def _stored(self, stored: tables.Stored, key: bytes, known: Found | None) -> Version:
        self.cache.change_ended(key, known if known is not None and stored.version == known.version else None)
        if stored.added is not None:
            self.leaves.change(stored.slot, stored.removed, stored.added)
        assert stored.version is not None
        return stored.version

    def drop(self, key: bytes, version: Version) -> Deferred[bool]:
        """See `IRecords.drop`."""

        def dropped(stored: tables.Stored | None) -> bool:
            self.cache.change_ended(key, None)
            if stored is not None:
                self.leaves.change(stored.slot, stored.removed, None)
            return stored is not None

        self.cache.change_begins(key)
        asked = self._change(lambda database: tables.drop(database, key, version))
        return asked.addCallbacks(dropped, self._unchanged, errbackArgs=(key,))

    def versions(self, slots: Sequence[int]) -> Deferred[dict[bytes, Version]]:
        """See `IRecords.versions`."""
        return self._query(lambda database: tables.versions(database, slots))

    def walk(self, after: tuple[int, bytes], limit: int, look: bool, plain: bytes | None = None) -> Deferred[Walked]:
        """See `IRecords.walk`."""
        return self._query(lambda database: tables.walk(database, after, limit, look, plain))

    # ---------------------------------------------------------------------------------------------------- notes

    def note(self, node: str, keys: Sequence[bytes]) -> Deferred[None]:
        """See `IRecords.note`."""
        room = max(0, MAX_NOTES - self._noted.get(node, 0))
        kept = list(keys)[:room]
        return self._change(lambda database: tables.add_notes(database, node, kept)).addCallback(self._count, node)

    def notes(self, node: str, limit: int) -> Deferred[list[bytes]]:
        """See `IRecords.notes`."""
        return self._query(lambda database: tables.read_notes(database, node, limit))

    def forget(self, node: str, keys: Sequence[bytes]) -> Deferred[None]:
        """See `IRecords.forget`."""
        gone = self._change(lambda database: -tables.remove_notes(database, node, keys))
        return gone.addCallback(self._count, node)

    def _count(self, more: int, node: str) -> None:
        self._noted[node] = self._noted.get(node, 0) + more
        if self._noted[node] <= 0:
            del self._noted[node]

    def noted(self) -> Mapping[str, int]:
        """See `IRecords.noted`."""
        return dict(self._noted)


async def _nothing() -> None:
    """For calls that have nothing to do."""
