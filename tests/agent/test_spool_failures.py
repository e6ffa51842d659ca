"""What the agent is told when the disk does not do its part, and what the spool makes of it."""

from __future__ import annotations

import errno
from random import Random

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from taba.agent.records import Commit, Section
from taba.agent.segments import OPENING_NAME, segment_name
from taba.agent.spare import SPARE_NAME
from taba.agent.spool import DiskFailed, FolderGone, Spool, SpoolLimits, SpoolState
from taba.errors import LocalProtocolError
from taba.testing.disk import MemoryDisk
from tests.agent.spool_folder import checksum, error
from tests.agent.spool_life import A, B, section, started

FIRST, SECOND = segment_name(1), segment_name(2)


class FailureTests(SynchronousTestCase):
    """Disks that fail, fill up, and recover."""

    def test_failed_sync(self) -> None:
        """After a failed sync the file is closed for good; its records stand in the next segment, and count once."""
        life = started()
        life.commit(section(1, b"1=zero"))
        life.sync()
        commit = life.commit(section(1, b"1=one"))
        life.failing("sync " + FIRST)
        self.assertRaises(OSError, life.spool.sync)
        self.assertIs(life.spool.state, SpoolState.FAILED)
        self.assertRaises(LocalProtocolError, life.spool.write, [commit])
        self.assertRaises(LocalProtocolError, life.spool.start_segment, life.spool.snapshot())
        extents = life.spool.fail_over([commit])
        self.assertEqual({extent.segment for extent in extents[0]}, {2})
        self.assertEqual(life.spool.read(extents[0]), b"1=one;")
        life.spool.close()
        recovered = Spool(life.folder, checksum).open()
        self.assertEqual([piece.commit for piece in recovered.waiting[A, 1]], [1, 2])

    def test_failed_write_of_a_bare_segment(self) -> None:
        """A segment that holds nothing yet is replaced."""
        life = started()
        life.failing("write " + FIRST, errno.ENOSPC)
        self.assertRaises(OSError, life.commit, section(1, b"1=one"))
        life.fail_over()
        self.assertEqual(life.folder.names(), [FIRST])
        life.commit(section(1, b"1=two"))
        life.turn(B)
        self.assertEqual(life.folder.names(), [FIRST, SECOND])

    def test_more_records_at_fail_over(self) -> None:
        """Records that came while the disk was away are written with those that failed."""
        life = started()
        commit = life.commit(section(1, b"1=one"))
        life.failing("sync " + FIRST)
        self.assertRaises(OSError, life.spool.sync)
        more = evolve(commit, number=2)
        self.assertRaises(LocalProtocolError, life.spool.fail_over, [more])
        self.assertRaises(LocalProtocolError, life.spool.fail_over, [])
        self.assertRaises(LocalProtocolError, life.spool.fail_over, [commit, commit])
        self.assertEqual(len(life.spool.fail_over([commit, more, life.account().seal((A, 1))])), 3)
        self.assertEqual(life.spool.snapshot().next_commit, 3)

    def test_full_disk(self) -> None:
        """A full disk is told each time, and forgotten when there is room again."""
        life = started()
        life.failing("write " + FIRST, errno.ENOSPC)
        self.assertRaises(OSError, life.commit, section(1, b"1=one"))
        for step in ("open opening", "write opening", "sync opening"):
            life.failing(step, errno.ENOSPC)
            failed = self.assertRaises(DiskFailed, life.fail_over)
            self.assertEqual(failed.reason.errno, errno.ENOSPC)
            self.assertNotIn(OPENING_NAME, life.folder.directory)
        life.failing("remove opening", errno.EIO)
        life.failing("write opening", errno.ENOSPC)
        self.assertRaises(DiskFailed, life.fail_over)
        life.fail_over()
        self.assertIs(life.spool.state, SpoolState.WRITING)

    def test_no_new_segment_for_now(self) -> None:
        """When no new segment can be made, the old one goes on."""
        life = started()
        life.commit(section(1, b"1=one"))
        life.sync()
        life.failing("write opening", errno.ENOSPC)
        self.assertRaises(DiskFailed, life.spool.start_segment, life.spool.snapshot())
        life.commit(section(1, b"1=two"))
        life.sync()
        self.assertEqual(life.folder.names(), [FIRST])

    def test_new_segment_in_doubt(self) -> None:
        """When the new segment may have its place or not, the old one is not written any more."""
        for step in ("rename opening", "folder", "open " + SECOND):
            life = started()
            life.commit(section(1, b"1=one"))
            life.sync()
            life.failing(step)
            self.assertRaises(DiskFailed, life.spool.start_segment, life.spool.snapshot())
            self.assertIs(life.spool.state, SpoolState.FAILED)
            life.fail_over()
            life.commit(section(1, b"1=two"))
            life.sync()
            self.assertEqual(life.folder.names(), [FIRST, SECOND])

    def test_first_segment_fails(self) -> None:
        """The first segment of a life may be tried again and again, whatever was left of the tries before."""
        life = started()
        life.commit(section(1, b"1=one"))
        life.sync()
        life.folder.locked = False
        spool = Spool(life.folder, checksum)
        recovered = spool.open()
        snapshot = evolve(recovered.snapshot, incarnation=B)
        for step in ("write opening", "sync opening", "rename opening", "folder", "open " + SECOND):
            life.failing(step)
            self.assertRaises(DiskFailed, spool.start_segment, snapshot)
            self.assertIs(spool.state, SpoolState.OPENED)
        spool.start_segment(snapshot)
        self.assertEqual(spool.read([recovered.waiting[A, 1][0].extent]), b"1=one;")
        self.assertEqual(recovered.waiting[A, 1][0].extent.segment, 2)

    def test_spare_file(self) -> None:
        """On a full disk the spare file is given up for a new segment, once; it is made again when there is room."""
        life = started(SpoolLimits(spare_bytes=800))
        life.spool.keep_spare()
        life.spool.keep_spare()
        self.assertEqual(len(life.folder.contents()[SPARE_NAME]), 800)
        life.commit(section(1, b"1=one"))
        life.sync()
        life.failing("write opening", errno.ENOSPC)
        life.turn(B)
        self.assertEqual(life.folder.names(), [FIRST, SECOND])
        life.failing("write opening", errno.ENOSPC)
        self.assertRaises(DiskFailed, life.spool.start_segment, life.spool.snapshot())
        life.failing("write " + SPARE_NAME, errno.ENOSPC)
        life.spool.keep_spare()
        self.assertEqual(life.folder.names(), [FIRST, SECOND])
        life.spool.keep_spare()
        self.assertEqual(len(life.folder.contents()[SPARE_NAME]), 800)

    def test_spare_file_that_cannot_go(self) -> None:
        """When the spare file cannot be removed, the disk is as full as it was."""
        life = started(SpoolLimits(spare_bytes=800))
        life.spool.keep_spare()
        life.failing("write opening", errno.ENOSPC)
        life.failing("remove " + SPARE_NAME)
        failed = self.assertRaises(DiskFailed, life.spool.start_segment, life.spool.snapshot())
        self.assertTrue(failed.no_room)
        self.assertIn(SPARE_NAME, life.folder.names())

    def test_spare_file_of_an_earlier_life(self) -> None:
        """What a crash left of it is used, and made as long as it should be."""
        life = started(SpoolLimits(spare_bytes=800))
        life.folder.open_append(SPARE_NAME).write(bytes(100))
        life.spool.close()
        spool = Spool(life.folder, checksum, SpoolLimits(spare_bytes=800))
        life.failing("write opening", errno.ENOSPC)
        spool.start_segment(evolve(spool.open().snapshot, incarnation=B))
        self.assertNotIn(SPARE_NAME, life.folder.names())
        life.folder.open_append(SPARE_NAME).write(bytes(100))
        spool.close()
        spool.start_segment(evolve(spool.open().snapshot, incarnation=B))
        spool.keep_spare()
        self.assertEqual(life.folder.contents()[SPARE_NAME], bytes(800))

    def test_spare_file_counts_as_room(self) -> None:
        """The spare file is of the room that commits leave to others: it makes the disk no smaller."""
        life = started(SpoolLimits(reserve_bytes=1000, spare_bytes=600))
        life.spool.keep_spare()
        life.folder.free = 400
        self.assertFalse(life.spool.room(1))
        life.folder.free = 401
        self.assertTrue(life.spool.room(1))

    def test_make_room(self) -> None:
        """When nothing can be written, what nobody needs goes: older segments at once, the failed one for one that has
        only its numbers; what it had not synced is written later, under the same numbers.
        """
        life = started()
        life.commit(section(1, b"1=one"))
        life.seal((A, 1))
        life.turn(A)
        life.commit(section(1, b"1=two"))
        life.seal((A, 1))
        life.sync()
        life.failing("write " + SECOND, errno.ENOSPC)
        self.assertRaises(OSError, life.commit, section(1, b"1=three"))
        self.assertFalse(life.spool.make_room(1))
        life.release(((A, 1), 1))
        self.assertTrue(life.spool.make_room(2))
        self.assertEqual((life.folder.names(), life.spool.state), ([SECOND], SpoolState.FAILED))
        self.assertFalse(life.spool.make_room(2))
        life.release(((A, 1), 2))
        life.failing("write opening", errno.ENOSPC)
        self.assertRaises(DiskFailed, life.spool.make_room, 3)
        self.assertTrue(life.spool.make_room(3))
        self.assertEqual((life.folder.names(), life.spool.state), ([segment_name(3)], SpoolState.WRITING))
        self.assertEqual(life.spool.snapshot().next_commit, 3)
        life.failing("write " + segment_name(3), errno.ENOSPC)
        self.assertRaises(OSError, life.spool.write, life.records[life.durable :])
        self.assertFalse(life.spool.make_room(3))  # it holds nothing that could go
        life.spool.fail_over(life.records[life.durable :])
        life.spool.close()
        recovered = Spool(life.folder, checksum).open()
        self.assertEqual([piece.commit for piece in recovered.waiting[A, 1]], [3])
        self.assertEqual(recovered.batches, {})

    def test_segment_done(self) -> None:
        """A segment could go when nothing in it is needed; not for the little that a new one begins with."""
        life = started()
        life.commit(section(1, b"1=one"))
        life.sync()
        self.assertFalse(life.spool.segment_done(2))
        life.commit(section(1, b"1=" + b"x" * 2000))
        life.sync()
        self.assertTrue(life.spool.segment_done(3))
        self.assertFalse(life.spool.segment_done(2))

    def test_folder_gone(self) -> None:
        """What is synced into a folder that is gone does not count; it is written when there is one again."""
        life = started()
        commit = life.commit(section(1, b"1=one"))
        directory, life.folder.directory = life.folder.directory, {}
        gone = self.assertRaises(FolderGone, life.spool.sync)
        self.assertIn("traced", str(gone))
        life.folder.failing["names"] = [error(errno.ENOENT)]
        self.assertRaises(FolderGone, life.spool.fail_over, [commit])
        life.folder.directory = directory
        life.spool.fail_over([commit])
        life.spool.close()
        self.assertEqual([each.commit for each in Spool(life.folder, checksum).open().waiting[A, 1]], [1])

    def test_folder_that_cannot_be_listed(self) -> None:
        """When it cannot be seen whether the folder is there, nothing is acknowledged."""
        life = started()
        life.commit(section(1, b"1=one"))
        life.folder.failing["names"] = [error(errno.EIO)]
        self.assertRaises(DiskFailed, life.spool.sync)
        life.fail_over()

    def test_bodies_of_a_folder_that_is_gone(self) -> None:
        """They are not damaged: the folder may be put back."""
        life = started()
        life.commit(section(1, b"1=one"))
        life.seal((A, 1))
        life.turn(B)
        life.spool.close()
        spool = Spool(life.folder, checksum)
        recovered = spool.open()
        spool.start_segment(evolve(recovered.snapshot, incarnation=B))
        wanted = [(1, each.held()) for each in recovered.batches[A, 1]]
        directory, life.folder.directory = life.folder.directory, {}
        self.assertRaises(FolderGone, spool.read_batches, wanted)
        life.folder.directory = directory
        self.assertEqual(spool.read_batches(wanted), [b"1=one;"])
        del directory[FIRST]
        self.assertEqual(spool.read_batches(wanted), [None])
        self.assertGreater(spool.drop_segments(2), 0)  # nobody minds that it was removed

    def test_random_lives_on_a_simulated_disk(self) -> None:
        """Whatever the simulated disk does at its crashes, what was durable is there, once, at the next start."""
        for seed in range(60):
            random = Random(seed)
            disk = MemoryDisk(Random(seed))
            number = 0
            for life in range(4):
                spool = Spool(disk.folder("spool"), checksum)
                recovered = spool.open()
                self.assertIsNone(recovered.damage)
                self.assertGreaterEqual(recovered.snapshot.next_commit, number + 1)
                number = recovered.snapshot.next_commit - 1
                spool.start_segment(evolve(recovered.snapshot, incarnation=f"{life:032x}"))
                found = [spool.read([piece.extent]) for held in recovered.waiting.values() for piece in held]
                self.assertEqual(sorted(found), sorted(b"%d" % each for each in range(1, number + 1)))
                number = self.work(spool, disk, random, number, f"{life:032x}")
                disk.crash()

    def work(self, spool: Spool, disk: MemoryDisk, random: Random, number: int, incarnation: str) -> int:
        """Commit for a while; the number of the last commit that is durable for certain."""
        for _ in range(random.randrange(12)):
            part = Section(number % 3, 1, b"%d" % (number + 1))
            commit = Commit(number + 1, incarnation, 0.0, {}, {}, (part,), 3)
            if random.random() < 0.2:
                disk.fail_next_sync()
            try:
                spool.write([commit])
                if random.random() < 0.2:
                    return number
                spool.sync()
            except OSError:
                spool.fail_over([commit])
            number += 1
            if random.random() < 0.2:
                spool.start_segment(spool.snapshot())
        return number
