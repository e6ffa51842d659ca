"""What the agent may ask of its spool, and what it is told when the disk does not do its part."""

from __future__ import annotations

import errno
import struct
from random import Random

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from taba.agent.encoding import Kind
from taba.agent.held import Held
from taba.agent.reading import BLOCK_BYTES, GAP_BYTES, RUN_BYTES
from taba.agent.records import Aside, Commit, Extent, LaneNumbers, Seal, Section
from taba.agent.segments import HEADER_BYTES, OPENING_NAME, scan, segment_name
from taba.agent.spool import BodyDamaged, DiskFailed, Spool, SpoolLimits, SpoolState
from taba.errors import FolderLocked, LocalProtocolError, SpoolError
from taba.interfaces import IAppendFile, IFolder
from taba.testing.disk import MemoryDisk
from tests.agent.spool_folder import TracedFolder, checksum, error
from tests.agent.spool_life import CLUSTER, ONE, TWO, A, B, Life, account_of, keys, section, split

FIRST, SECOND = segment_name(1), segment_name(2)


def started(limits: SpoolLimits | None = None) -> Life:
    """A life whose spool has its first segment."""
    life = Life(limits=limits or SpoolLimits())
    life.start(A)
    return life


class StartTests(SynchronousTestCase):
    """Opening, locking, closing."""

    def test_new_folder(self) -> None:
        """A new spool knows nothing, and writes nothing before its first segment."""
        spool = Spool(TracedFolder(), checksum)
        recovered = spool.open()
        self.assertEqual((recovered.snapshot.incarnation, recovered.snapshot.next_commit), ("", 1))
        self.assertEqual((recovered.batches, recovered.waiting, recovered.damage, recovered.torn), ({}, {}, None, 0))
        self.assertIs(spool.state, SpoolState.OPENED)
        self.assertEqual(spool.folder.names(), [])

    def test_what_was_durable_comes_back(self) -> None:
        """Batches, waiting sections, numbers and counts come back as they were."""
        life = started()
        life.commit(section(1, b"1=one"), section(2, b"2=two"), instances={ONE: 7}, ledger={"refused.future": 2})
        life.seal(*keys([1]))
        life.sync()
        life.spool.close()
        spool = Spool(life.folder, checksum)
        recovered = spool.open()
        spool.start_segment(evolve(recovered.snapshot, incarnation=B))
        self.assertEqual(account_of(spool, recovered), life.account())
        self.assertEqual(recovered.snapshot.instances, {ONE: (7, 1001.0)})
        self.assertEqual((recovered.snapshot.cluster, recovered.snapshot.vbuckets), (CLUSTER, 8))

    def test_locked(self) -> None:
        """A folder that another process has is refused; closing gives it back."""
        life = started()
        other = Spool(life.folder, checksum)
        self.assertRaises(FolderLocked, other.open)
        life.spool.close()
        life.spool.close()
        other.open()

    def test_unreadable_folder(self) -> None:
        """A folder whose names cannot be read is no spool now, and perhaps later."""
        folder = TracedFolder()
        spool = Spool(folder, checksum)
        for step in ("names", "folder"):
            folder.failing[step] = [error(errno.EIO)]
            failed = self.assertRaises(DiskFailed, spool.open)
            self.assertEqual((failed.path, failed.reason.errno), ("traced", errno.EIO))
            self.assertIsInstance(failed, SpoolError)
        spool.open()

    def test_unreadable_sectors(self) -> None:
        """A segment that cannot be read in one piece is read around its bad blocks."""
        life = started()
        life.commit(section(1, b"1=" + b"a" * 3 * BLOCK_BYTES))
        life.commit(section(1, b"1=b"))
        life.sync()
        life.spool.close()
        life.folder.failing["read " + FIRST] = [error(errno.EIO)]
        self.assertIsNone(Spool(life.folder, checksum).open().damage)
        life.folder.locked = False
        fine = BadBlock(life.folder.contents(), bad=1)
        recovered = Spool(fine, checksum).open()
        self.assertEqual([piece.commit for piece in recovered.waiting[A, 1]], [2])
        self.assertEqual(recovered.damage.events if recovered.damage else 0, 3 * BLOCK_BYTES)

    def test_unreadable_segment(self) -> None:
        """Not even a file that cannot be opened keeps the spool from opening."""
        life = started()
        life.spool.close()
        life.folder.failing["read " + FIRST] = [error(errno.EIO)] * 9
        life.folder.failing["open " + FIRST] = [error(errno.EIO)] * 9
        recovered = Spool(life.folder, checksum).open()
        self.assertIsNotNone(recovered.damage)

    def test_torn_end_is_told(self) -> None:
        """The bytes that are cut off at the end are counted."""
        life = started()
        life.commit(section(1, b"1=one"))
        life.sync()
        content = life.folder.contents()[FIRST]
        recovered = Spool(TracedFolder.of({FIRST: content[:-3]}), checksum).open()
        self.assertEqual((recovered.damage, recovered.snapshot.next_commit), (None, 1))
        self.assertGreater(recovered.torn, 0)

    def test_close_notes_what_is_durable(self) -> None:
        """After a stop in good order even the last record counts as durable: damage to it is damage, not a torn end."""
        life = started()
        life.commit(section(1, b"1=one"))
        life.sync()
        life.spool.close()
        content = bytearray(life.folder.contents()[FIRST])
        self.assertEqual(scan(1, bytes(content), checksum).frames[-1].kind, Kind.MARK)
        content[-HEADER_BYTES - 1] ^= 1
        recovered = Spool(TracedFolder.of({FIRST: bytes(content)}), checksum).open()
        self.assertEqual(recovered.damage.commits if recovered.damage else 0, 1)

    def test_close_when_the_disk_refuses(self) -> None:
        """Closing does its best, and tells nobody."""
        life = started()
        life.commit(section(1, b"1=one"))
        life.sync()
        life.failing("write " + FIRST)
        life.spool.close()
        self.assertIs(life.spool.state, SpoolState.CLOSED)
        self.assertFalse(life.folder.locked)

    def test_restarts_alone_take_no_room(self) -> None:
        """A segment that holds nothing but snapshots is replaced by the next one."""
        life = started()
        life.commit(section(1, b"1=one"))
        life.sync()
        life.spool.close()
        for _ in range(5):
            life.start(B)
            life.give(life.spool.snapshot())
            life.sync()
            life.spool.close()
        self.assertEqual(life.folder.names(), [FIRST, SECOND])

    def test_interfaces(self) -> None:
        """The folder of these tests is a folder."""
        folder = TracedFolder()
        verifyObject(IFolder, folder)
        verifyObject(IAppendFile, folder.open_append("x"))


class BadBlock(TracedFolder):
    """A folder in which one block of every file cannot be read."""

    def __init__(self, contents: dict[str, bytes], bad: int) -> None:
        super().__init__()
        for name, content in contents.items():
            self.open_append(name).write(content)
        self.bad = bad * BLOCK_BYTES

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        end = offset + length if length is not None else len(self.contents()[name])
        if offset <= self.bad < end:
            raise error(errno.EIO)
        return super().read(name, offset, length)


class OrderTests(SynchronousTestCase):
    """Calls at the wrong time, and records that cannot follow."""

    def test_calls_before_their_time(self) -> None:
        """Each state says what it waits for."""
        spool = Spool(TracedFolder(), checksum)
        snapshot = spool.open().snapshot
        for call in (
            lambda: spool.write([]),
            spool.sync,
            lambda: spool.fail_over([]),
            lambda: spool.drop_segments(1),
            spool.open,
        ):
            self.assertRaises(LocalProtocolError, call)
        spool.start_segment(evolve(snapshot, incarnation=A))
        self.assertRaises(LocalProtocolError, spool.fail_over, [])
        spool.close()
        self.assertRaises(LocalProtocolError, spool.start_segment, snapshot)

    def test_commits_have_the_next_number(self) -> None:
        """A commit under another number is refused, and nothing is written."""
        life = started()
        size = life.spool.bytes_held()
        commit = Commit(2, A, 0.0, {}, {}, (), 8)
        self.assertRaises(LocalProtocolError, life.spool.write, [commit])
        self.assertRaises(LocalProtocolError, life.spool.write, [evolve(commit, number=1), commit, commit])
        self.assertEqual(life.spool.bytes_held(), size)
        life.spool.write([evolve(commit, number=1), commit])

    def test_seals_are_of_commits_before_them(self) -> None:
        """A seal of what is not committed, or with its commits in the wrong order, is refused."""
        life = started()
        life.commit(section(1, b"1=one"), section(2, b"2=two"))
        seal = life.account().seal((A, 1))
        for bad in (evolve(seal, last_commit=2), evolve(seal, first_commit=2)):
            self.assertRaises(LocalProtocolError, life.spool.write, [bad])
        life.spool.write([seal])

    def test_values_that_no_record_holds(self) -> None:
        """A number or an id that cannot be written is refused, and what follows is written as if nothing had been."""
        life = started()
        commit = Commit(1, A, 0.0, {ONE: 1}, {}, (), 8)
        self.assertRaises(struct.error, life.spool.write, [commit, evolve(commit, number=2, instances={ONE: -1})])
        self.assertRaises(ValueError, life.spool.write, [evolve(commit, incarnation="me")])
        life.give(commit)
        life.sync()
        life.spool.close()
        self.assertEqual(Spool(life.folder, checksum).open().snapshot.instances, {ONE: (1, 0.0)})

    def test_snapshots_note_nothing_new(self) -> None:
        """A snapshot with a number that no record before it has is refused."""
        life = started()
        life.commit(section(1, b"1=one"), instances={ONE: 1})
        life.seal(*keys([1]))
        life.sync()
        snapshot = life.spool.snapshot()
        for wrong in (
            evolve(snapshot, next_commit=3),
            evolve(snapshot, instances={ONE: (2, 0.0)}),
            evolve(snapshot, instances={TWO: (0, 0.0)}),
            evolve(snapshot, lanes={(A, 1): LaneNumbers(2, 3, 2)}),
            evolve(snapshot, lanes={(A, 2): LaneNumbers(1, 3, 1)}),
        ):
            self.assertRaises(LocalProtocolError, life.spool.start_segment, wrong)
            self.assertRaises(LocalProtocolError, life.spool.write, [wrong])
        life.spool.start_segment(evolve(snapshot, instances={}, lanes={}, incarnation=B))

    def test_snapshot_between_records(self) -> None:
        """A snapshot may be written like any record; it counts what is written before it, synced or not."""
        life = started()
        life.commit(section(1, b"1=one"))
        life.seal(*keys([1]))
        life.give(evolve(life.spool.snapshot(), cluster=None, vbuckets=0))
        life.commit(section(1, b"1=two"))
        life.sync()
        life.spool.close()
        recovered = Spool(life.folder, checksum).open()
        self.assertEqual((recovered.snapshot.cluster, recovered.snapshot.next_commit), (None, 3))
        self.assertEqual(recovered.snapshot.lanes, {(A, 1): LaneNumbers(1, 3, 1)})

    def test_new_segment_needs_all_synced(self) -> None:
        """A new segment says how much of the old one is durable: all of it must be."""
        life = started()
        life.commit(section(1, b"1=one"))
        self.assertRaises(LocalProtocolError, life.spool.start_segment, life.spool.snapshot())

    def test_sync_of_nothing(self) -> None:
        """The disk is not asked when nothing was written."""
        life = started()
        steps = len(life.folder.trace)
        life.spool.sync()
        self.assertEqual(len(life.folder.trace), steps)


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


class SegmentTests(SynchronousTestCase):
    """Segments come and go."""

    def test_drop(self) -> None:
        """Segments of which nothing is needed are removed, the oldest first; the one that is written stays."""
        life = started()
        for text in (b"1=a", b"1=b", b"1=c"):
            life.commit(section(1, text))
            life.seal(*keys([1]))
            life.turn(A)
        life.commit(section(1, b"1=d"))
        sizes = {name: len(content) for name, content in life.folder.contents().items()}
        self.assertEqual(life.drop(), 0)
        life.release(((A, 1), 2))
        self.assertEqual(life.drop(), 0)
        life.release(((A, 1), 1))
        self.assertEqual(life.drop(), sizes[FIRST] + sizes[SECOND])
        life.release(((A, 1), 3))
        self.assertEqual(life.spool.drop_segments(99), sizes[segment_name(3)])
        self.assertEqual(life.folder.names(), [segment_name(4)])
        self.assertEqual(life.spool.bytes_held(), len(life.folder.contents()[segment_name(4)]))

    def test_drop_when_the_disk_refuses(self) -> None:
        """What could not be removed goes another time; no segment goes before the one before it is gone for good."""
        life = started()
        for text in (b"1=a", b"1=b"):
            life.commit(section(1, text))
            life.turn(A)
        for step in ("remove " + FIRST, "folder", "folder"):
            life.failing(step)
            self.assertRaises(DiskFailed, life.spool.drop_segments, 3)
            self.assertIn(SECOND, life.folder.directory)
        life.spool.drop_segments(3)
        self.assertEqual(life.folder.names(), [segment_name(3)])

    def test_confirmed_batches_do_not_come_back(self) -> None:
        """What a snapshot calls needless is not sent again after a restart, though its segment is there."""
        life = started()
        life.commit(section(1, b"1=a"))
        life.commit(section(2, b"2=b"))
        life.seal(*keys([1, 2]))
        life.sync()
        life.release(((A, 1), 1))
        life.turn(A)
        life.spool.close()
        recovered = Spool(life.folder, checksum).open()
        self.assertEqual(list(recovered.batches), [(A, 2)])

    def test_batches_whose_commits_were_dropped(self) -> None:
        """A seal may stand in a later segment than its commits; once they are dropped, nobody needed it any more."""
        life = started()
        life.commit(section(1, b"1=a"))
        life.turn(A)
        life.commit(section(1, b"1=b"), section(2, b"2=c"))
        life.seal(*keys([1]))
        life.sync()
        life.release(((A, 1), 1))
        self.assertGreater(life.drop(), 0)
        life.spool.close()
        recovered = Spool(life.folder, checksum).open()
        self.assertEqual((dict(recovered.batches), list(recovered.waiting)), ({}, [(A, 2)]))
        self.assertEqual(recovered.snapshot.lanes, {(A, 1): LaneNumbers(1, 2, 1)})

    def test_lanes_left_out_hold_nothing(self) -> None:
        """A lane of an older incarnation that a snapshot leaves out has nothing to send."""
        life = started()
        life.commit(section(1, b"1=a"), section(2, b"2=b"))
        life.seal(*keys([1, 2]))
        life.sync()
        life.release(((A, 2), 1))
        life.turn(B)
        life.spool.close()
        recovered = Spool(life.folder, checksum).open()
        self.assertEqual(list(recovered.batches), [(A, 1)])
        self.assertEqual(list(recovered.snapshot.lanes), [(A, 1)])

    def test_room(self) -> None:
        """Commits leave room for seals and snapshots, in the spool and on the disk."""
        life = started(SpoolLimits(max_bytes=100_000, reserve_bytes=10_000))
        held = life.spool.bytes_held()
        self.assertEqual(held, len(life.folder.contents()[FIRST]))
        self.assertTrue(life.spool.room(90_000 - held))
        self.assertFalse(life.spool.room(90_001 - held))
        life.folder.free = 20_000
        self.assertTrue(life.spool.room(10_000))
        self.assertFalse(life.spool.room(10_001))
        life.failing("free")
        self.assertFalse(life.spool.room(1))
        spool = Spool(TracedFolder(), checksum)
        spool.open()
        self.assertTrue(spool.room(1))
        self.assertFalse(spool.segment_full())

    def test_segment_full(self) -> None:
        """A segment is full at its size, or at a quarter of a small spool."""
        for limits in (SpoolLimits(segment_bytes=1000), SpoolLimits(max_bytes=4000)):
            life = started(limits)
            self.assertFalse(life.spool.segment_full())
            life.commit(section(1, b"1=" + b"a" * 1000))
            self.assertTrue(life.spool.segment_full())
            life.turn(A)
            self.assertFalse(life.spool.segment_full())

    def test_many_segments(self) -> None:
        """Records are found across segments, and a body may stand in several."""
        life = started()
        for letter in (b"1=a", b"1=b", b"1=c"):
            life.commit(section(1, letter))
            life.turn(A)
        life.seal(*keys([1]))
        life.sync()
        life.spool.close()
        spool = Spool(life.folder, checksum)
        recovered = spool.open()
        spool.start_segment(evolve(recovered.snapshot, incarnation=B))
        (batch,) = recovered.batches[A, 1]
        self.assertEqual([extent.segment for extent in batch.extents], [1, 2, 3])
        self.assertEqual(spool.read_batches([(1, batch.held())]), [b"1=a;1=b;1=c;"])


class ReadingTests(SynchronousTestCase):
    """Bodies are read again."""

    def setUp(self) -> None:
        self.life = started()
        self.sections = [section(1, b"1=one"), section(2, b"2=two"), section(3, b"3=" + b"x" * 2 * GAP_BYTES)]
        commit = Commit(1, A, 0.0, {}, {}, (*self.sections, section(4, b"4=four")), 8)
        (self.extents,) = self.life.spool.write([commit])
        self.life.sync()

    def test_read(self) -> None:
        """The sections that are asked for, one after the other, in the order asked for."""
        first, second, _, fourth = self.extents
        self.assertEqual(self.life.spool.read([fourth, first, second, first]), b"4=four;1=one;2=two;1=one;")
        self.assertEqual(self.life.spool.read([]), b"")

    def test_neighbours_are_read_together(self) -> None:
        """Sections that lie close together cost one read, and far ones do not read what is between."""
        folder = CountingFolder()
        for name, content in self.life.folder.contents().items():
            folder.open_append(name).write(content)
        spool = Spool(folder, checksum)
        spool.open()
        first, second, third, fourth = self.extents
        for extents, reads in (((first, second), 1), ((first, fourth), 2), ((first, second, third, fourth), 1)):
            folder.reads = 0
            spool.read(extents)
            self.assertEqual(folder.reads, reads)

    def test_runs_are_bounded(self) -> None:
        """However much is asked for, one read is of a bounded size."""
        life = started()
        part = b"1=" + b"y" * (RUN_BYTES // 2)
        (extents,) = life.spool.write([Commit(1, A, 0.0, {}, {}, tuple(section(v, part) for v in (1, 2, 3)), 8)])
        life.sync()
        self.assertEqual(life.spool.read(extents), (part + b";") * 3)

    def test_missing_bytes(self) -> None:
        """Sections that are not all there are damage, each by itself."""
        first = self.extents[0]
        for bad in (evolve(first, length=10**6), evolve(first, segment=9)):
            failed = self.assertRaises(BodyDamaged, self.life.spool.read, [first, bad])
            self.assertEqual((failed.path, failed.extents), ("traced", [first, bad]))

    def test_one_bad_read_costs_one_body(self) -> None:
        """When sections cannot be read together they are read one by one."""
        self.life.failing("read " + FIRST)
        self.assertEqual(self.life.spool.read(self.extents[:2]), b"1=one;2=two;")

    def held(self, body: bytes, *extents: Extent) -> Held:
        """A batch with such a body, of such sections."""
        return Held(1, 0, 0, 1, 0.0, checksum(body), len(body), extents)

    def test_batches(self) -> None:
        """Bodies that are not what was sealed are not given out."""
        first, second, *_ = self.extents
        good, wrong = self.held(b"1=one;2=two;", first, second), self.held(b"1=one;", second)
        gone = self.held(b"1=one;", evolve(first, segment=7))
        short, empty = self.held(b"1=one;2=", first), self.held(b"gone")
        batches = [(1, each) for each in (good, wrong, gone, short, empty, good)]
        bodies = self.life.spool.read_batches(batches)
        self.assertEqual(bodies, [b"1=one;2=two;", None, None, None, None, b"1=one;2=two;"])

    def test_undivided(self) -> None:
        """Of a section that was not divided a batch has its vbucket's part."""
        undivided = section(0, b"1=a", b"2=bb")
        (extents,) = self.life.spool.write([Commit(2, A, 0.0, {}, {}, (undivided,), 0)])
        self.life.sync()
        batches = [
            (1, self.held(b"1=a;1=one;", extents[0], self.extents[0])),
            (2, self.held(b"2=bb;", *extents)),
        ]
        self.assertEqual(self.life.spool.read_batches(batches, split), [b"1=a;1=one;", b"2=bb;"])
        self.assertEqual(self.life.spool.read_batches(batches), [None, None])

    def test_batches_of_somebody_else(self) -> None:
        """A batch that does not come from a spool is a defect of the caller."""
        self.assertRaises(TypeError, self.life.spool.read_batches, [(1, Held(1, 0, 0, 1, 0.0, 0, 0))])


class CountingFolder(TracedFolder):
    """Counts reads."""

    reads = 0

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self.reads += 1
        return super().read(name, offset, length)


class AsideTests(SynchronousTestCase):
    """Batches that are not sent any more."""

    def test_passed_over(self) -> None:
        """Later batches follow the one before, and the lane's events are without it, also after a restart."""
        life = started()
        for text in (b"1=a", b"1=bb", b"1=ccc"):
            life.commit(section(1, text))
            life.seal(*keys([1]))
            life.sync()
        life.aside((A, 1), 2, "too old", True)
        life.aside((A, 1), 3, "too old", True)
        life.commit(section(1, b"1=dddd"))
        life.seal(*keys([1]))
        life.sync()
        life.spool.close()
        recovered = Spool(life.folder, checksum).open()
        seals = [batch.seal for batch in recovered.batches[A, 1]]
        self.assertEqual([(seal.seq, seal.after, seal.before) for seal in seals], [(1, 0, 0), (4, 1, 1)])
        self.assertEqual(recovered.snapshot.ledger["refused.too old"], 5)
        self.assertEqual(recovered.snapshot.lanes, {(A, 1): LaneNumbers(4, 5, 4)})

    def test_seal_made_before_the_batch_was_passed_over(self) -> None:
        """A seal that says what was true when it was made is corrected, wherever the aside stands."""
        life = started()
        life.commit(section(1, b"1=a"))
        life.seal(*keys([1]))
        life.commit(section(1, b"1=bb"))
        late = life.account().seal((A, 1))
        life.spool.write([Aside(A, 1, 1, "too old", True, 0, 1), late])
        life.spool.sync()
        self.assertEqual(life.spool.snapshot().lanes, {(A, 1): LaneNumbers(2, 2, 2)})
        life.spool.close()
        (batch,) = Spool(life.folder, checksum).open().batches[A, 1]
        self.assertEqual((batch.seal.seq, batch.seal.after, batch.seal.before), (2, 0, 0))

    def test_in_conflict(self) -> None:
        """A batch in conflict keeps its number: the store has another under it."""
        life = started()
        for text in (b"1=a", b"1=bb"):
            life.commit(section(1, text))
            life.seal(*keys([1]))
        life.aside((A, 1), 1, "conflict", False)
        life.sync()
        life.spool.close()
        recovered = Spool(life.folder, checksum).open()
        (batch,) = recovered.batches[A, 1]
        self.assertEqual((batch.seal.after, batch.seal.before), (1, 1))
        self.assertEqual(recovered.snapshot.lanes, {(A, 1): LaneNumbers(2, 3, 2)})

    def test_of_an_unknown_lane(self) -> None:
        """An aside of a lane that is not known counts its events, and nothing else."""
        life = started()
        life.spool.write([Aside(A, 1, 1, "too old", True, 0, 3)])
        life.spool.sync()
        self.assertEqual(life.spool.snapshot().lanes, {})
        self.assertEqual(life.spool.snapshot().ledger, {"refused.too old": 3})

    def test_same_seal_twice(self) -> None:
        """A number that was given before changes nothing."""
        life = started()
        life.commit(section(1, b"1=a"))
        seal = life.account().seal((A, 1))
        life.spool.write([seal, evolve(seal, events=99)])
        self.assertEqual(life.spool.snapshot().lanes, {(A, 1): LaneNumbers(1, 1, 1)})
        self.assertIsInstance(seal, Seal)
