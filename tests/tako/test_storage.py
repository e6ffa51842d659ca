"""The SQLite storage: the contract on a simulated disk and on a real folder, full and damaged disks, wrong databases.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from taba.errors import StartError
from taba.store.folder import open_folder
from taba.tako.errors import DiskFull, StorageFailed
from taba.tako.interfaces import Write
from taba.tako.records import tombstone, version_of
from taba.tako.storage import SqliteRecords
from taba.testing.disk import MemoryDisk
from tests.tako.contracts.records import RecordsContract


def _pragma(name: str, database: sqlite3.Connection) -> object:
    return database.execute(f"PRAGMA {name}").fetchone()[0]


class Inline:
    """A Worker that does everything at once, in the same thread."""

    def __call__(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Deferred[Any]:
        """See `taba.process.Worker`."""
        return maybeDeferred(function, *arguments, **named)

    def stop(self) -> Deferred[None]:
        """See `taba.process.Worker`."""
        return succeed(None)


class StorageCase(SynchronousTestCase):
    """Storage whose transactions run when `result` waits for something: so that several share one."""

    def setUp(self) -> None:
        """No storage yet."""
        self.turns: list[Callable[[], object]] = []
        self.limit = 2**53
        self.opened: list[SqliteRecords] = []
        self.addCleanup(self.close_all)

    def close_all(self) -> None:
        """Close what a test opened."""
        for each in self.opened:
            self.result(each.stopService())

    def folder(self) -> Any:
        """Where the database is."""
        raise NotImplementedError

    def result(self, deferred: Deferred[Any]) -> Any:
        """Run turn by turn until it fires; its result, or its error raised."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        while not results and self.turns:
            self.turns.pop(0)()
        (result,) = results
        if isinstance(result, Failure):
            result.raiseException()
        return result

    def open(self, node: str = "n1", cache: int = 0) -> SqliteRecords:
        """The storage of a node."""
        records = SqliteRecords(
            self.folder(), "tako.db", node, lambda: f"{random.getrandbits(64):x}", lambda: self.limit,
            Inline(), Inline(), self.turns.append, cache,
        )  # fmt: skip
        self.result(records.startService())
        self.opened.append(records)
        return records

    def make(self) -> SqliteRecords:
        """For the contract."""
        return self.open()

    def reopen(self, records: SqliteRecords) -> SqliteRecords:
        """For the contract."""
        self.result(records.stopService())
        self.opened.remove(records)
        return self.open()


class MemoryStorageTests(RecordsContract, StorageCase):
    """On a simulated disk."""

    def setUp(self) -> None:
        """A disk."""
        self.disk = MemoryDisk(random.Random(1))
        self.addCleanup(self.disk.close)  # cleanups run last first
        super().setUp()

    def folder(self) -> Any:
        """See `StorageCase`."""
        return self.disk.folder("data")

    def _write(self, records: SqliteRecords, key: bytes, stamp: int, value: bytes) -> Deferred[Any]:
        return records.write(Write(key, version_of(stamp, value), value))

    def test_a_full_disk_harms_nothing(self) -> None:
        """DiskFull for what has no room, in whose company others are stored; all that was there stays; then it goes on.
        """
        records = self.open()
        self.result(self._write(records, b"old", 1, b"kept"))
        self.disk.limit(40_000)
        small, large = self._write(records, b"s", 2, b"x"), self._write(records, b"l", 2, bytes(100_000))
        self.assertRaises(DiskFull, self.result, large)
        self.assertEqual(self.result(small), version_of(2, b"x"))
        self.assertEqual(self.result(records.read(b"old", True)).body, b"kept")
        self._leaves_are_right(records)
        self.disk.limit(None)
        self.result(self._write(records, b"l", 2, bytes(100_000)))
        self._leaves_are_right(records)

    def test_a_disk_that_cannot_be_written(self) -> None:
        """StorageFailed, and nothing changes."""
        records = self.open()
        self.disk.read_only(True)
        self.assertRaises(StorageFailed, self.result, self._write(records, b"k", 1, b"x"))
        self.disk.read_only(False)
        self.assertIsNone(self.result(records.read(b"k", True)))

    def test_another_nodes_database(self) -> None:
        """A node does not start on a disk that holds another node's data."""
        self.reopen(self.open("n1"))
        self.close_all()
        self.opened.clear()
        with self.assertRaises(StartError) as caught:
            self.open("n2")
        self.assertIn("holds the data of node n1, and this is n2", str(caught.exception))

    def test_a_database_of_something_else(self) -> None:
        """A database without Tako's tables is left alone."""
        database = self.folder().database("tako.db")
        database.execute("CREATE TABLE mine (x)")
        database.close()
        with self.assertRaises(StartError) as caught:
            self.open()
        self.assertIn("is not a Tako node's", str(caught.exception))

    def test_a_damaged_value_is_never_given(self) -> None:
        """A value whose bytes changed on the disk is an error to read, and a walk finds it."""
        records = self.open()
        self.result(self._write(records, b"k", 1, b"value"))
        database = self.folder().database("tako.db")
        database.execute("UPDATE pieces SET body = x'00'")
        database.close()
        self.assertRaises(StorageFailed, self.result, records.read(b"k", True))
        self.assertEqual([row.sound for row in self.result(records.walk((-1, b""), 9, True)).rows], [False])

    def test_what_a_wrong_clock_stamped_gives_way(self) -> None:
        """A version above the limits of two clocks loses against one below them; one clock alone, which may be behind,
        is not enough.
        """
        records = self.open()
        future, now = version_of(1_000, b"future"), version_of(400, b"now")
        self.result(self._write(records, b"k", 1_000, b"future"))
        self.limit = 500
        for limit, held in ((2**53, future), (1_000, future), (600, now)):
            self.assertEqual(self.result(records.write(Write(b"k", now, b"now", None, limit))), held)
        self._leaves_are_right(records)

    def test_the_cache_follows(self) -> None:
        """With records in memory, reads see every write and drop."""
        records = self.open(cache=1_000_000)
        for stamp in (1, 2):
            self.result(self._write(records, b"k", stamp, b"%d" % stamp))
            self.assertEqual(self.result(records.read(b"k", True)).body, b"%d" % stamp)
        self.assertEqual(records.cache.hits, 2)
        self.result(records.drop(b"k", version_of(2, b"2")))
        self.assertIsNone(self.result(records.read(b"k", True)))

    def test_an_answer_means_that_it_is_on_the_disk(self) -> None:
        """What was answered is there after a power cut in the moment of the answer; an older value is not there again.
        """
        records = self.open()
        self.result(self._write(records, b"k", 1, b"old"))
        self.result(self._write(records, b"k", 2, b"new"))
        self.result(records.write(Write(b"gone", tombstone(3))))
        self.disk.crash()
        self.opened.clear()
        self.turns.clear()
        again = self.open()
        self.assertEqual(self.result(again.read(b"k", True)).body, b"new")
        self.assertEqual(self.result(again.read(b"gone", True)).version, tombstone(3))

    def test_many_in_one_commit(self) -> None:
        """All that is asked in one turn is one transaction."""
        records = self.open()
        commits: list[str] = []
        self.disk.on_note = commits.append
        asked = [self._write(records, b"%d" % n, 1, b"x") for n in range(50)]
        self.assertEqual(len(self.turns), 1)
        for each in asked:
            self.result(each)


class FolderStorageTests(RecordsContract, StorageCase):
    """In a real folder."""

    def test_commits_are_synced(self) -> None:
        """SQLite writes ahead, and syncs at every commit."""
        records = self.open()
        told = [
            self.result(records._changes.ask(partial(_pragma, name))) for name in ("journal_mode", "synchronous")
        ]
        self.assertEqual(told, ["wal", 2])

    def folder(self) -> Any:
        """See `StorageCase`."""
        if not hasattr(self, "path"):
            self.path = self.mktemp()
        return open_folder(self.path)
