"""The simulated disk fails, is copied, restored and lost."""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random

from twisted.trial.unittest import SynchronousTestCase

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


class FaultTests(SynchronousTestCase):
    """A disk fails without a crash."""

    def setUp(self) -> None:
        self.verbs: list[str] = []
        self.disk = disk_of()
        self.disk.on_verb = self.verbs.append
        self.folder = self.disk.folder()

    def assert_errno(self, number: int, call: Callable[..., object], *args: object) -> None:
        """The call raises OSError with this number."""
        self.assertEqual(self.assertRaises(OSError, call, *args).errno, number)

    def test_full(self) -> None:
        """A full disk takes no bytes and no new names, lets files be removed, and can get room again."""
        file = self.folder.open_append("a")
        self.disk.fill()
        self.assertEqual(self.folder.free_bytes(), 0)
        self.assert_errno(errno.ENOSPC, file.write, b"x")
        self.assert_errno(errno.ENOSPC, self.folder.open_append, "b")
        self.folder.remove("a")
        self.disk.fill(False)
        self.folder.open_append("b").write(b"x")
        self.assertEqual(self.folder.read("b"), b"x")

    def test_limit(self) -> None:
        """Under a limit, what fits is written before ENOSPC, and removing files makes room."""
        file = self.folder.open_append("a")
        self.disk.limit(10)
        file.write(b"123456")
        self.assertEqual(self.folder.free_bytes(), 4)
        self.assert_errno(errno.ENOSPC, file.write, b"123456")
        self.assertEqual(self.folder.read("a"), b"1234561234")
        self.folder.remove("a")
        self.assertEqual(self.folder.free_bytes(), 10)

    def test_failed_sync(self) -> None:
        """The next sync of a file fails with EIO, once; over many seeds its bytes survive a later sync, or do not."""
        survived = set()
        for seed in range(60):
            disk = disk_of(seed)
            folder = disk.folder()
            put(folder, "a", b"", b"bytes")
            file = folder.open_append("a")
            disk.fail_next_sync()
            self.assert_errno(errno.EIO, file.sync)
            file.sync()
            disk.crash()
            survived.add(disk.folder().read("a") == b"bytes")
        self.assertEqual(survived, {True, False})

    def test_failed_sync_of_one_file(self) -> None:
        """A named file, or the folder, can be made to fail alone."""
        a, b = self.folder.open_append("a"), self.folder.open_append("b")
        self.disk.fail_next_sync("b")
        self.disk.fail_next_sync(".")
        a.sync()
        self.assert_errno(errno.EIO, b.sync)
        self.assert_errno(errno.EIO, self.folder.sync)
        b.sync()
        self.folder.sync()
        self.assertEqual(self.disk.failing_syncs, [])

    def test_any_file_is_not_the_folder(self) -> None:
        """A failure of the next file's sync does not strike the folder's."""
        file = self.folder.open_append("a")
        self.disk.fail_next_sync()
        self.folder.sync()
        self.assert_errno(errno.EIO, file.sync)

    def test_read_only(self) -> None:
        """A disk gone read-only refuses all changes with EROFS, and still reads."""
        file = self.folder.open_append("a")
        file.write(b"x")
        self.disk.read_only()
        for call, args in (
            (file.write, (b"x",)),
            (self.folder.open_append, ("b",)),
            (self.folder.remove, ("a",)),
            (self.folder.rename, ("a", "b")),
            (self.folder.database, ("db",)),
        ):
            self.assert_errno(errno.EROFS, call, *args)
        self.assertEqual(self.folder.read("a"), b"x")
        self.disk.read_only(False)
        file.write(b"y")
        self.assertEqual(self.folder.read("a"), b"xy")

    def test_damage(self) -> None:
        """A damaged byte is damaged for readers, and stays so after a crash."""
        put(self.folder, "a", b"\0\0\0\0")
        self.disk.damage("data", "a", 2)
        self.assertEqual(self.folder.read("a"), b"\0\0\xff\0")
        self.disk.crash()
        self.assertEqual(self.disk.folder().read("a"), b"\0\0\xff\0")
        self.assertIn(self.disk.damage("data", "a"), range(4))

    def test_copy_holds_what_is_synced(self) -> None:
        """A copied disk holds synced names and bytes only, and lives a life of its own."""
        put(self.folder, "a", b"synced", b"unsynced")
        self.folder.open_append("b").write(b"never synced")
        twin = self.disk.copy("twin")
        self.assertEqual((twin.folder().names(), twin.folder().read("a")), (["a"], b"synced"))
        twin.folder().open_append("a").write(b"!")
        self.assertEqual(self.folder.read("a"), b"syncedunsynced")

    def test_restored_backup(self) -> None:
        """A restored backup takes the place of everything, and the process that lives loses the disk."""
        put(self.folder, "a", b"old")
        backup = self.disk.snapshot()
        put(self.folder, "a", b"new")
        put(self.folder, "b", b"new")
        self.disk.restore(backup)
        self.assert_errno(errno.EIO, self.folder.names)
        restored = self.disk.folder()
        self.assertEqual((restored.names(), restored.read("a")), (["a"], b"old"))
        self.disk.crash()
        self.assertEqual(self.disk.folder().read("a"), b"old")

    def test_lost_disk(self) -> None:
        """A lost disk is empty for the next process, and gone for this one."""
        put(self.folder, "a", b"x")
        self.disk.lose()
        self.assert_errno(errno.EIO, self.folder.names)
        self.assertEqual(self.disk.folder().names(), [])

    def test_verbs_are_told(self) -> None:
        """Every fault is noted under its name."""
        self.folder.open_append("a").write(b"x")
        self.disk.fill()
        self.disk.fill(False)
        self.disk.limit(5)
        self.disk.fail_next_sync()
        self.disk.read_only()
        self.disk.read_only(False)
        self.disk.damage("data", "a", 0)
        self.disk.copy()
        self.disk.restore(self.disk.snapshot())
        self.disk.lose()
        self.disk.crash()
        self.assertEqual(
            " ".join(self.verbs),
            "fill make_room limit fail_next_sync read_only read_write damage copy snapshot restore lose disk_crash",
        )
