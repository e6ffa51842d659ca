"""SQLite on a simulated disk."""

from __future__ import annotations

import sqlite3
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from taba.testing import MemoryDisk


class DatabaseTests(SynchronousTestCase):
    """A process keeps a database on its disk."""

    def setUp(self) -> None:
        self.disk = MemoryDisk(Random(0))
        self.addCleanup(self.disk.close)
        self.connection = self.disk.folder().database("store")
        self.connection.execute("CREATE TABLE numbers (n INTEGER)")
        self.insert(1)

    def insert(self, n: int) -> None:
        self.connection.execute("INSERT INTO numbers VALUES (?)", (n,))

    def numbers(self, disk: MemoryDisk | None = None) -> list[int]:
        rows = (disk or self.disk).folder().database("store").execute("SELECT n FROM numbers ORDER BY n")
        return [n for (n,) in rows]

    def test_connections_share_the_database(self) -> None:
        """Another connection of the process sees what is committed; each statement commits by itself."""
        self.assertEqual(self.numbers(), [1])
        self.assertFalse(self.connection.in_transaction)

    def test_other_names_are_other_databases(self) -> None:
        """Names, folders and disks keep databases apart."""
        for folder in (self.disk.folder("other"), MemoryDisk(Random(0)).folder()):
            self.assertRaises(sqlite3.OperationalError, folder.database("store").execute, "SELECT * FROM numbers")

    def test_crash_keeps_what_is_committed(self) -> None:
        """A crash rolls an open transaction back, closes the connections and keeps the rest."""
        self.connection.execute("BEGIN IMMEDIATE")
        self.insert(2)
        self.disk.crash()
        self.assertRaises(sqlite3.ProgrammingError, self.connection.execute, "SELECT 1")
        self.assertEqual(self.numbers(), [1])

    def test_crash_leaves_no_locks(self) -> None:
        """A statement that the dead process never finished does not lock the next one out."""
        self.insert(2)
        cursor = self.connection.execute("SELECT n FROM numbers")
        cursor.fetchone()
        self.disk.crash()
        self.disk.folder().database("store").execute("INSERT INTO numbers VALUES (3)")
        self.assertEqual(self.numbers(), [1, 2, 3])

    def test_orderly_end_keeps_all(self) -> None:
        """When the process ends, what it committed is there for the next one."""
        self.disk.exit()
        self.assertEqual(self.numbers(), [1])

    def test_full_disk(self) -> None:
        """On a full disk the database grows no more, and says so; with room it grows again."""
        self.disk.fill()
        error = self.assertRaises(sqlite3.OperationalError, self.grow)
        self.assertEqual(error.sqlite_errorname, "SQLITE_FULL")
        self.disk.fill(False)
        self.grow()
        self.assertGreater(len(self.numbers()), 1000)

    def test_limited_disk(self) -> None:
        """Under a limit it grows by what is left, files and databases counted together."""
        self.disk.limit(60_000)
        self.assertRaises(sqlite3.OperationalError, self.grow, 20_000)
        self.assertLess(self.disk.free_bytes(), 8192)

    def test_read_only_disk(self) -> None:
        """On a read-only disk writing fails and reading goes on, for old and new connections."""
        self.disk.read_only()
        error = self.assertRaises(sqlite3.OperationalError, self.insert, 2)
        self.assertEqual(error.sqlite_errorname, "SQLITE_READONLY")
        self.assertEqual(self.numbers(), [1])
        self.disk.read_only(False)
        self.insert(2)
        self.assertEqual(self.numbers(), [1, 2])

    def test_copy_and_backup(self) -> None:
        """A copied disk holds the committed rows, apart from the original; a restored backup the old ones."""
        backup = self.disk.snapshot()
        self.insert(2)
        twin = self.disk.copy()
        self.addCleanup(twin.close)
        self.insert(3)
        self.assertEqual(self.numbers(twin), [1, 2])
        self.disk.restore(backup)
        self.assertEqual(self.numbers(), [1])

    def test_no_copy_in_a_transaction(self) -> None:
        """A copy in the middle of a transaction is refused, for it would hold what is not committed."""
        self.connection.execute("BEGIN IMMEDIATE")
        self.insert(2)
        self.assertRaises(RuntimeError, self.disk.copy)
        self.connection.execute("COMMIT")
        self.assertEqual(self.numbers(self.disk.copy()), [1, 2])

    def test_it_is_a_file_of_the_folder(self) -> None:
        """A database has a name like a file: it is listed, read, renamed and removed."""
        folder = self.disk.folder()
        folder.open_append("a")
        self.assertEqual(folder.names(), ["a", "store"])
        self.assertTrue(folder.read("store").startswith(b"SQLite format 3\0"))
        folder.rename("store", "store.damaged")
        self.assertEqual(folder.names(), ["a", "store.damaged"])
        folder.remove("store.damaged")
        self.assertEqual(folder.names(), ["a"])

    def test_new_database_on_a_full_disk(self) -> None:
        """A database made while the disk is full holds nothing until there is room."""
        self.disk.fill()
        connection = self.disk.folder().database("other")
        error = self.assertRaises(sqlite3.OperationalError, connection.execute, "CREATE TABLE t (x)")
        self.assertEqual(error.sqlite_errorname, "SQLITE_FULL")
        self.disk.fill(False)
        connection.execute("CREATE TABLE t (x)")
        self.assertEqual(connection.execute("SELECT * FROM t").fetchall(), [])

    def grow(self, rows: int = 1500) -> None:
        for n in range(rows):
            self.insert(n)
