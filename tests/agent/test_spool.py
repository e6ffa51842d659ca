"""How a spool is opened and closed, and what may be asked of it when."""

from __future__ import annotations

import errno
import struct

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from taba.agent.encoding import Kind
from taba.agent.reading import BLOCK_BYTES
from taba.agent.records import Commit, LaneNumbers
from taba.agent.segments import HEADER_BYTES, scan, segment_name
from taba.agent.spool import DiskFailed, Spool, SpoolState
from taba.errors import FolderLocked, LocalProtocolError, SpoolError
from taba.interfaces import IAppendFile, IFolder
from tests.agent.spool_folder import TracedFolder, checksum, error
from tests.agent.spool_life import CLUSTER, ONE, TWO, A, B, account_of, keys, section, started

FIRST, SECOND = segment_name(1), segment_name(2)


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

    def test_nothing_is_kept_before_its_first_segment(self) -> None:
        """A spool that is only open takes no room of the disk, and misses no file."""
        spool = Spool(TracedFolder(), checksum)
        spool.open()
        spool.keep_spare()
        spool.check_folder()
        self.assertEqual((spool.folder.names(), spool.state), ([], SpoolState.OPENED))

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
        folder.failing["names"] = [error(errno.EIO)]
        failed = self.assertRaises(DiskFailed, spool.open)
        self.assertEqual((failed.path, failed.reason.errno), ("traced", errno.EIO))
        self.assertIsInstance(failed, SpoolError)
        spool.open()

    def test_folder_that_is_not_synced(self) -> None:
        """While names may be gone after a power failure, nothing of what is in the files is acted upon."""
        life = started()
        life.commit(section(1, b"1=one"))
        life.seal((A, 1))
        life.turn(A)
        life.spool.close()
        life.failing("folder")
        spool = Spool(life.folder, checksum)
        self.assertEqual(spool.open().doubtful, {(A, 1)})
        self.assertEqual(spool.drop_segments(9), 0)
        spool.close()
        self.assertEqual(Spool(life.folder, checksum).open().doubtful, frozenset())

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
            lambda: spool.make_room(1),
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
