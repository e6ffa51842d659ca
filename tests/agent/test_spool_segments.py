"""Segments come and go, and batches with them."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from taba.agent.records import Aside, LaneNumbers, Seal
from taba.agent.segments import segment_name
from taba.agent.spool import DiskFailed, Spool, SpoolLimits
from tests.agent.spool_folder import TracedFolder, checksum
from tests.agent.spool_life import A, B, keys, section, started

FIRST, SECOND = segment_name(1), segment_name(2)


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
