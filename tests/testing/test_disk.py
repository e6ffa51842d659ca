"""The simulated disk: what is durable, its faults, its images."""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from taba.errors import FolderLocked
from taba.interfaces import IAppendFile, IFolder
from taba.testing import MemoryDisk
from taba.testing.folder import MemoryFolder


def disk_of(seed: int = 0) -> MemoryDisk:
    """A new disk."""
    return MemoryDisk(Random(seed), "machine")


def put(folder: MemoryFolder, name: str, synced: bytes, unsynced: bytes = b"") -> None:
    """Write a file, its first part durably, name included."""
    file = folder.open_append(name)
    file.write(synced)
    file.sync()
    folder.sync()
    file.write(unsynced)


class FolderTests(SynchronousTestCase):
    """A process uses a folder."""

    def setUp(self) -> None:
        self.disk = disk_of()
        self.folder = self.disk.folder("spool")

    def assert_errno(self, number: int, call: Callable[..., object], *args: object) -> None:
        """The call raises OSError with this number."""
        self.assertEqual(errno.errorcode[self.assertRaises(OSError, call, *args).errno or 0], errno.errorcode[number])

    def test_provides(self) -> None:
        """Folders and files provide the seams of production code."""
        self.assertTrue(verifyObject(IFolder, self.folder))
        self.assertTrue(verifyObject(IAppendFile, self.folder.open_append("a")))

    def test_written_bytes_are_read_at_once(self) -> None:
        """What is written can be read before it is synced, whole or in part, and by another object of the folder."""
        self.folder.open_append("a").write(b"hello")
        self.assertEqual(self.disk.folder("spool").read("a"), b"hello")
        self.assertEqual(self.folder.read("a", 1, 3), b"ell")

    def test_opening_again_appends(self) -> None:
        """A file that is there is continued."""
        self.folder.open_append("a").write(b"one")
        file = self.folder.open_append("a")
        self.assertEqual(file.size(), 3)
        file.write(b"two")
        self.assertEqual((file.size(), self.folder.read("a")), (6, b"onetwo"))

    def test_names(self) -> None:
        """Names are sorted; files of other folders are not among them."""
        for name in ("b", "a", "c"):
            self.folder.open_append(name)
        self.disk.folder("other").open_append("d")
        self.folder.rename("b", "z")
        self.folder.remove("a")
        self.assertEqual(self.folder.names(), ["c", "z"])

    def test_rename_replaces(self) -> None:
        """A rename takes the place of what had the name."""
        self.folder.open_append("new").write(b"new")
        self.folder.open_append("old").write(b"old")
        self.folder.rename("new", "old")
        self.assertEqual((self.folder.names(), self.folder.read("old")), (["old"], b"new"))

    def test_names_of_databases_are_taken(self) -> None:
        """A file and a database cannot have one name; renaming one to the other's name replaces it."""
        self.addCleanup(self.disk.close)
        self.folder.open_append("file")
        self.folder.database("database")
        self.assert_errno(errno.EBUSY, self.folder.open_append, "database")
        self.assert_errno(errno.EBUSY, self.folder.database, "file")
        self.folder.rename("database", "file")
        self.assertEqual(self.folder.names(), ["file"])
        self.assertEqual(self.folder.read("file"), b"")
        self.folder.database("other")
        self.folder.rename("file", "other")
        self.assertEqual(self.folder.names(), ["other"])
        self.folder.open_append("new")
        self.folder.rename("new", "new")
        self.folder.rename("new", "other")
        self.assertEqual((self.folder.names(), self.folder.read("other")), (["other"], b""))

    def test_missing_files(self) -> None:
        """Reading, removing or renaming what is not there is ENOENT."""
        for call in (
            lambda: self.folder.read("x"),
            lambda: self.folder.remove("x"),
            lambda: self.folder.rename("x", "y"),
        ):
            self.assertRaises(FileNotFoundError, call)

    def test_paths_are_no_names(self) -> None:
        """A name with a slash, or none, is refused."""
        for name in ("", "a/b", ".."):
            self.assert_errno(errno.EINVAL, self.folder.open_append, name)

    def test_closed_file(self) -> None:
        """A closed file takes nothing more; closing twice is allowed."""
        file = self.folder.open_append("a")
        file.close()
        file.close()
        self.assert_errno(errno.EBADF, file.write, b"x")

    def test_lock(self) -> None:
        """A locked folder is refused to others until it is given back."""
        other = self.disk.folder("spool")
        self.folder.lock()
        self.assertEqual(self.assertRaises(FolderLocked, other.lock).path, "machine:spool")
        other.unlock()
        self.assertRaises(FolderLocked, other.lock)
        self.folder.unlock()
        self.folder.unlock()
        other.lock()
        self.assertRaises(FolderLocked, self.folder.lock)

    def test_lock_ends_with_the_process(self) -> None:
        """A crash, or the end of the process, releases the folder."""
        for end in (self.disk.crash, self.disk.exit):
            self.disk.folder("spool").lock()
            end()
        last = self.disk.folder("spool")
        last.lock()
        self.assertRaises(FolderLocked, last.lock)

    def test_dead_process_can_do_nothing(self) -> None:
        """After a crash the old folder and its files raise EIO and change nothing; closing is still quiet."""
        file = self.folder.open_append("a")
        self.disk.crash()
        self.assert_errno(errno.EIO, file.write, b"x")
        self.assert_errno(errno.EIO, file.sync)
        self.assert_errno(errno.EIO, self.folder.open_append, "b")
        self.assert_errno(errno.EIO, self.folder.names)
        file.close()
        self.folder.unlock()
        self.assertIn(self.disk.folder("spool").names(), ([], ["a"]))


class CrashTests(SynchronousTestCase):
    """The machine of a disk stops."""

    def outcomes(self, before: Callable[[MemoryFolder], object], seeds: int = 60) -> set[tuple[tuple[str, bytes], ...]]:
        """What a folder may hold after a crash, over many seeds."""
        found = set()
        for seed in range(seeds):
            disk = disk_of(seed)
            before(disk.folder())
            disk.crash()
            after = disk.folder()
            found.add(tuple((name, after.read(name)) for name in after.names()))
        return found

    def test_synced_is_kept(self) -> None:
        """A file that was synced, name and bytes, is there after every crash."""
        self.assertEqual(self.outcomes(lambda folder: put(folder, "a", b"kept")), {(("a", b"kept"),)})

    def test_unsynced_bytes_are_kept_in_part(self) -> None:
        """Of unsynced bytes any amount may be left."""
        found = self.outcomes(lambda folder: put(folder, "a", b"kept", b"123"))
        self.assertTrue({(("a", b"kept"),), (("a", b"kept123"),)} < found)

    def test_new_name_may_vanish(self) -> None:
        """A new file whose folder was not synced is there, or is not, synced bytes or not."""

        def make(folder: MemoryFolder) -> None:
            file = folder.open_append("a")
            file.write(b"synced")
            file.sync()

        self.assertEqual(self.outcomes(make), {(), (("a", b"synced"),)})

    def test_removed_name_may_return(self) -> None:
        """A removed file may be there again until the folder is synced, and not after."""

        def remove(folder: MemoryFolder) -> None:
            put(folder, "a", b"x")
            folder.remove("a")

        self.assertEqual(self.outcomes(remove), {(), (("a", b"x"),)})

        def remove_durably(folder: MemoryFolder) -> None:
            remove(folder)
            folder.sync()

        self.assertEqual(self.outcomes(remove_durably), {()})

    def test_rename_is_atomic(self) -> None:
        """A rename that replaces leaves the old file or the new one under the name, never neither."""

        def replace(folder: MemoryFolder) -> None:
            put(folder, "index", b"old")
            put(folder, "index.new", b"new")
            folder.rename("index.new", "index")

        self.assertEqual(self.outcomes(replace), {(("index", b"new"),), (("index", b"old"), ("index.new", b"new"))})

    def test_changes_of_names_are_independent(self) -> None:
        """Of two new files the second may be left without the first."""

        def make(folder: MemoryFolder) -> None:
            folder.open_append("a")
            folder.open_append("b")

        names = {tuple(name for name, _content in outcome) for outcome in self.outcomes(make, 200)}
        self.assertEqual(names, {(), ("a",), ("b",), ("a", "b")})

    def test_torn_mode(self) -> None:
        """Torn crashes leave holes of zeros; crashes that do not tear never do."""
        for torn in (True, False):
            holes = 0
            for seed in range(60):
                disk = disk_of(seed)
                put(disk.folder(), "a", b"", b"x" * 4096)
                disk.crash(torn)
                holes += b"\0" in disk.folder().read("a")
            self.assertEqual(holes > 0, torn)

    def test_exit_loses_nothing(self) -> None:
        """When a process ends in good order, what it wrote is there for the next one, and is lost by a crash only."""
        disk = disk_of(3)
        disk.folder().open_append("a").write(b"unsynced")
        disk.exit()
        self.assertEqual(disk.folder().read("a"), b"unsynced")
        disk.crash()
        self.assertIn(disk.folder().names(), ([], ["a"]))

    def test_same_seed_same_outcome(self) -> None:
        """Crashes are a function of the seed."""
        contents = []
        for _ in range(2):
            disk = disk_of(11)
            put(disk.folder(), "a", b"a", b"x" * 3000)
            disk.crash()
            contents.append(disk.folder().read("a"))
        self.assertEqual(contents[0], contents[1])

    def test_crash_at_a_step(self) -> None:
        """A test can stop the machine before the n-th operation: that one has no effect, and the process sees EIO."""
        disk = disk_of()
        steps: list[str] = []

        def third(step: str) -> None:
            steps.append(step)
            if len(steps) == 3:
                disk.crash()

        disk.on_step = third
        folder = disk.folder("spool")
        file = folder.open_append("a")
        file.write(b"one")
        self.assertRaises(OSError, file.sync)
        self.assertEqual(steps, ["open spool/a", "write spool/a", "sync spool/a"])
