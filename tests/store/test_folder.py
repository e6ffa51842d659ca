"""The real folder: the contract of folders, permissions, locks that end with their process, and folders that cannot be
used.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from taba.errors import FolderLocked, StartError
from taba.store.folder import LOCK, RealAppendFile, RealFolder, open_folder
from taba.testing.disk import MemoryDisk
from taba.testing.folder import MemoryFolder
from tests.contracts.folder import FolderContract

LOCK_AND_WAIT = """
import sys
from taba.store.folder import open_folder
folder = open_folder(sys.argv[1])
folder.lock()
print("locked", flush=True)
sys.stdin.read()
"""


class RealFolderHarness:
    """Folders on the file system. The process does not end for the tests; its locks are given back as if it did."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._made: list[RealFolder] = []

    def folder(self) -> RealFolder:
        self._made.append(open_folder(self._path))
        return self._made[-1]

    def restart(self) -> None:
        for folder in self._made:
            folder.unlock()


class RealFolderTests(FolderContract, SynchronousTestCase):
    """The real folder keeps the contract."""

    def make_harness(self) -> RealFolderHarness:
        return RealFolderHarness(self.mktemp())


class SimulatedFolderHarness:
    """Folders on a simulated disk."""

    def __init__(self) -> None:
        self._disk = MemoryDisk(Random(1))

    def folder(self) -> MemoryFolder:
        return self._disk.folder()

    def restart(self) -> None:
        self._disk.exit()


class SimulatedFolderTests(FolderContract, SynchronousTestCase):
    """The folder of the simulated disk keeps the contract."""

    def make_harness(self) -> SimulatedFolderHarness:
        return SimulatedFolderHarness()


def mode_of(*path: str) -> int:
    """The permissions of a file or folder."""
    return stat.S_IMODE(os.stat(os.path.join(*path)).st_mode)


class PermissionTests(SynchronousTestCase):
    """What Taba keeps is nobody else's business."""

    def setUp(self) -> None:
        self.addCleanup(os.umask, os.umask(0))
        self.path = os.path.join(self.mktemp(), "data")

    def test_folders_are_for_the_owner_only(self) -> None:
        """The folder, and those made on the way to it, can be entered by the owner only, whatever the umask."""
        open_folder(self.path)
        self.assertEqual((mode_of(self.path), mode_of(os.path.dirname(self.path))), (0o700, 0o700))

    def test_files_are_for_the_owner_only(self) -> None:
        """Files, the lock and databases with their logs can be read by the owner only, whatever the umask."""
        folder = open_folder(self.path)
        folder.open_append("a").close()
        database = folder.database("x.db")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE t (x)")
        names = ["a", "x.db", "x.db-shm", "x.db-wal"]
        self.assertEqual(folder.names(), names)
        self.assertEqual({mode_of(self.path, name) for name in (*names, LOCK)}, {0o600})
        database.close()

    def test_existing_folder_stays_as_it_is(self) -> None:
        """Permissions that an operator gave to the folder are not changed."""
        os.makedirs(self.path, 0o750)
        open_folder(self.path)
        self.assertEqual(mode_of(self.path), 0o750)


class OpenFolderTests(SynchronousTestCase):
    """A folder that cannot be used is refused at the start, in a sentence that says what to do."""

    def assertRefused(self, path: str, reason: str) -> None:
        error = self.assertRaises(StartError, open_folder, path)
        for part in (os.path.abspath(path), reason, "--data-dir"):
            self.assertIn(part, str(error))

    def test_file_in_the_place_of_the_folder(self) -> None:
        """A file of that name is left alone."""
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("precious")
        self.assertRefused(path, "File exists")

    def test_folder_below_a_file(self) -> None:
        """There is no folder inside a file."""
        path = self.mktemp()
        open(path, "w").close()
        self.assertRefused(os.path.join(path, "data"), f"File exists: {os.path.abspath(path)}.")

    def test_folder_where_nothing_can_be_made(self) -> None:
        """A place where not even the administrator can make files."""
        self.assertRefused("/proc/taba-data", "No such file")

    def test_folder_that_cannot_be_written(self) -> None:
        """A folder of somebody else."""
        path = self.mktemp()
        os.mkdir(path, 0o500)
        self.assertRefused(path, "Permission denied")

    if os.geteuid() == 0:
        test_folder_that_cannot_be_written.skip = "the administrator may write everywhere"  # type: ignore[attr-defined]

    def test_relative_path_is_made_absolute(self) -> None:
        """twistd changes its folder; the path means what it meant at first."""
        path = self.mktemp()
        self.assertEqual(open_folder(path).path, os.path.abspath(path))

    def test_opening_again_changes_nothing(self) -> None:
        """A folder with data is opened as it is."""
        path = self.mktemp()
        folder = open_folder(path)
        file = folder.open_append("a")
        file.write(b"1")
        file.close()
        self.assertEqual(open_folder(path).read("a"), b"1")


class AppendFileTests(SynchronousTestCase):
    """Errors of the disk under a file."""

    def test_full_disk(self) -> None:
        """A write that does not fit is an OSError that says so."""
        file = RealAppendFile(os.open("/dev/full", os.O_WRONLY), "/dev/full", 0)
        self.addCleanup(file.close)
        error = self.assertRaises(OSError, file.write, b"1")
        self.assertEqual(error.errno, errno.ENOSPC)
        self.assertEqual(file.size(), 0)

    def test_file_is_not_used_after_a_failed_sync(self) -> None:
        """After a failed sync nobody knows what is on the disk: the file takes nothing more."""
        reading, writing = os.pipe()  # a pipe cannot be synced
        self.addCleanup(os.close, reading)
        file = RealAppendFile(writing, "a pipe", 0)
        file.write(b"1")
        self.assertRaises(OSError, file.sync)
        for call in (lambda: file.write(b"2"), file.sync):
            error = self.assertRaises(OSError, call)
            self.assertEqual(error.errno, errno.EIO)
        self.assertEqual(file.size(), 1)
        file.close()

    test_full_disk.skip = None if os.path.exists("/dev/full") else "needs /dev/full"  # type: ignore[attr-defined]


class RealLockTests(SynchronousTestCase):
    """Real processes: a lock goes with the process that has it. These tests start one, and wait for it."""

    def test_lock_goes_with_the_process(self) -> None:
        """A process that is killed leaves the folder to the next one."""
        path = self.mktemp()
        child = subprocess.Popen(
            [sys.executable, "-c", LOCK_AND_WAIT, os.path.abspath(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        try:
            assert child.stdout is not None
            self.assertEqual(child.stdout.readline(), b"locked\n")
            self.assertRaises(FolderLocked, open_folder(path).lock)
        finally:
            child.kill()
            child.communicate()
        folder = open_folder(path)
        folder.lock()
        folder.unlock()

    def test_forked_process_does_not_keep_the_lock(self) -> None:
        """A child that was forked while the folder was locked keeps nobody out once the parent unlocked."""
        path = self.mktemp()
        folder = open_folder(path)
        folder.lock()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # until the parent is done
            os._exit(0)
        try:
            folder.unlock()
            other = open_folder(path)
            other.lock()
            other.unlock()
        finally:
            os.close(reading)
            os.close(writing)
            os.waitpid(child, 0)
