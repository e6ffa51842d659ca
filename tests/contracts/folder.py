"""The contract of `IFolder` and `IAppendFile`, as a suite that every implementation runs.

    class MyFolderTests(FolderContract, SynchronousTestCase):
        def make_harness(self): return MyHarness(...)

It is no TestCase by itself. What a crash leaves of what was not synced is not part of it: no implementation on a real
disk could show it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from zope.interface.verify import verifyObject

from taba.errors import FolderLocked
from taba.interfaces import IAppendFile, IFolder

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as Suite
else:
    Suite = object

BAD_NAMES = ("", ".", "..", "a/b", "/a", "../a")


class FolderHarness(Protocol):
    """One folder, as several processes see it one after the other."""

    def folder(self) -> IFolder:
        """The folder for the process that runs now; each call makes an object of its own."""

    def restart(self) -> None:
        """Let the process end in good order; objects of before are not used any more."""


class FolderContract(Suite):
    """All that `taba.interfaces.IFolder` and `IAppendFile` promise."""

    def make_harness(self) -> FolderHarness:
        """The harness of the implementation under test, with an empty folder."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.harness = self.make_harness()
        self.folder = self.harness.folder()

    def put(self, name: str, content: bytes) -> None:
        """Make a file, or append to it."""
        file = self.folder.open_append(name)
        file.write(content)
        file.close()

    def test_provides_the_interfaces(self) -> None:
        """They are an IFolder and an IAppendFile."""
        self.assertTrue(verifyObject(IFolder, self.folder))
        file = self.folder.open_append("a")
        self.assertTrue(verifyObject(IAppendFile, file))
        file.close()

    def test_path(self) -> None:
        """A folder has a path to show."""
        self.assertTrue(self.folder.path)

    # --------------------------------------------------------------------------------------------------------- names

    def test_new_folder_is_empty(self) -> None:
        """There is nothing in a new folder."""
        self.assertEqual(self.folder.names(), [])

    def test_names_are_sorted(self) -> None:
        """The names of all files, sorted."""
        for name in ("b", "a.0001", "c", "a"):
            self.put(name, b"")
        self.assertEqual(self.folder.names(), ["a", "a.0001", "b", "c"])

    def test_remove(self) -> None:
        """A removed file is gone, the others stay."""
        self.put("a", b"1")
        self.put("b", b"2")
        self.folder.remove("a")
        self.assertEqual(self.folder.names(), ["b"])
        self.assertRaises(OSError, self.folder.read, "a")

    def test_rename(self) -> None:
        """A file keeps its content under another name."""
        self.put("a", b"1")
        self.folder.rename("a", "b")
        self.assertEqual((self.folder.names(), self.folder.read("b")), (["b"], b"1"))

    def test_rename_replaces(self) -> None:
        """What had the new name is gone."""
        self.put("a", b"1")
        self.put("b", b"2")
        self.folder.rename("a", "b")
        self.assertEqual((self.folder.names(), self.folder.read("b")), (["b"], b"1"))

    def test_what_is_missing_is_an_error(self) -> None:
        """A file that is not there cannot be read, removed or renamed."""
        self.assertRaises(OSError, self.folder.read, "a")
        self.assertRaises(OSError, self.folder.remove, "a")
        self.assertRaises(OSError, self.folder.rename, "a", "b")
        self.assertEqual(self.folder.names(), [])

    def test_only_names_of_files(self) -> None:
        """Nothing outside the folder is touched, whatever the name says."""
        for name in BAD_NAMES:
            self.assertRaises(OSError, self.folder.open_append, name)
            self.assertRaises(OSError, self.folder.read, name)
            self.assertRaises(OSError, self.folder.remove, name)
            self.assertRaises(OSError, self.folder.database, name)

    # --------------------------------------------------------------------------------------------------------- files

    def test_what_is_written_is_read(self) -> None:
        """Bytes can be read as soon as they are written, synced or not."""
        file = self.folder.open_append("a")
        file.write(b"one ")
        file.write(b"two")
        self.assertEqual(self.folder.read("a"), b"one two")
        file.close()

    def test_files_only_grow(self) -> None:
        """Opening a file again goes on at its end."""
        self.put("a", b"one ")
        self.put("a", b"two")
        self.assertEqual(self.folder.read("a"), b"one two")

    def test_opening_makes_a_file(self) -> None:
        """A file exists from the moment it is opened."""
        self.put("a", b"")
        self.assertEqual((self.folder.names(), self.folder.read("a")), (["a"], b""))

    def test_read_a_part(self) -> None:
        """From an offset on, and not more than asked for; nothing beyond the end."""
        self.put("a", b"0123456789")
        self.assertEqual(self.folder.read("a", 4), b"456789")
        self.assertEqual(self.folder.read("a", 4, 3), b"456")
        self.assertEqual(self.folder.read("a", 8, 100), b"89")
        self.assertEqual(self.folder.read("a", 10), b"")
        self.assertEqual(self.folder.read("a", 100, 5), b"")
        self.assertEqual(self.folder.read("a", 2, 0), b"")

    def test_size(self) -> None:
        """The size is that of the whole file, what was there before opening included."""
        self.put("a", b"12345")
        file = self.folder.open_append("a")
        self.assertEqual(file.size(), 5)
        file.write(b"678")
        self.assertEqual(file.size(), 8)
        file.close()

    def test_large_write(self) -> None:
        """A write is whole, however large."""
        content = bytes(range(256)) * 20_000
        self.put("a", content)
        self.assertEqual(self.folder.read("a"), content)

    def test_closed_file(self) -> None:
        """Closing twice is as good as once, and a closed file takes nothing."""
        file = self.folder.open_append("a")
        file.close()
        file.close()
        self.assertRaises(OSError, file.write, b"1")
        self.assertRaises(OSError, file.sync)
        self.assertEqual(self.folder.read("a"), b"")

    def test_synced_files_outlive_the_process(self) -> None:
        """What is synced, and whose name is, is there for the next process."""
        file = self.folder.open_append("a")
        file.write(b"1")
        file.sync()
        file.close()
        self.folder.sync()
        self.harness.restart()
        folder = self.harness.folder()
        self.assertEqual((folder.names(), folder.read("a")), (["a"], b"1"))

    # ---------------------------------------------------------------------------------------------------------- lock

    def test_locked_folder_is_refused_to_others(self) -> None:
        """Only one process at a time has a folder; the others learn which one."""
        self.folder.lock()
        other = self.harness.folder()
        error = self.assertRaises(FolderLocked, other.lock)
        self.assertEqual(error.path, other.path)
        self.folder.unlock()

    def test_unlocked_folder_is_free(self) -> None:
        """Whoever gives it back leaves it to the next, who has it then."""
        self.folder.lock()
        self.folder.unlock()
        other = self.harness.folder()
        other.lock()
        self.assertRaises(FolderLocked, self.folder.lock)
        other.unlock()

    def test_unlocking_is_idempotent(self) -> None:
        """Giving back what one does not have changes nothing, least of all for the one who has it."""
        self.folder.unlock()
        self.folder.lock()
        other = self.harness.folder()
        other.unlock()
        self.assertRaises(FolderLocked, other.lock)
        self.folder.unlock()
        self.folder.unlock()
        other.lock()
        other.unlock()

    def test_lock_is_no_file(self) -> None:
        """A lock does not show among the files."""
        self.folder.lock()
        self.assertEqual(self.folder.names(), [])
        self.folder.unlock()
        self.assertEqual(self.folder.names(), [])

    def test_lock_does_not_outlive_the_process(self) -> None:
        """The next process may take the folder."""
        self.folder.lock()
        self.harness.restart()
        folder = self.harness.folder()
        folder.lock()
        folder.unlock()

    # ----------------------------------------------------------------------------------------------- room, databases

    def test_free_bytes(self) -> None:
        """The disk says how much room it has."""
        self.assertGreater(self.folder.free_bytes(), 0)

    def test_database(self) -> None:
        """Connections to a database see what others have committed, which is every statement without BEGIN."""
        writer, reader = self.folder.database("x.db"), self.folder.database("x.db")
        writer.execute("CREATE TABLE t (x)")
        writer.execute("INSERT INTO t VALUES (1)")
        self.assertFalse(writer.in_transaction)
        self.assertEqual(reader.execute("SELECT x FROM t").fetchall(), [(1,)])
        self.assertIn("x.db", self.folder.names())
        writer.close()
        reader.close()

    def test_databases_are_apart(self) -> None:
        """Two names are two databases."""
        one, two = self.folder.database("1.db"), self.folder.database("2.db")
        one.execute("CREATE TABLE t (x)")
        self.assertEqual(two.execute("SELECT count(*) FROM sqlite_master").fetchall(), [(0,)])
        one.close()
        two.close()

    def test_database_outlives_the_process(self) -> None:
        """What was committed is there for the next process; what was not is not."""
        database = self.folder.database("x.db")
        database.execute("CREATE TABLE t (x)")
        database.execute("INSERT INTO t VALUES (1)")
        database.execute("BEGIN")
        database.execute("INSERT INTO t VALUES (2)")
        database.close()
        self.harness.restart()
        database = self.harness.folder().database("x.db")
        self.assertEqual(database.execute("SELECT x FROM t").fetchall(), [(1,)])
        database.close()
