"""What a start makes of a spool that was damaged: what is given up, what is counted, what is found out."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from taba.agent.encoding import Kind
from taba.agent.held import SetAside
from taba.agent.records import DAMAGED_LINE, Aside, Commit, Discard, Hole
from taba.agent.recovery import recover
from taba.agent.segments import HEADER_BYTES, damaged_name, scan, segment_name, segment_number
from taba.agent.spool import Spool
from tests.agent.spool_damage import RecoveryCase, closed, frames_of, spoil
from tests.agent.spool_folder import TracedFolder, checksum
from tests.agent.spool_life import CLUSTER, ONE, TWO, A, B, Life, keys, section, split


class LostCommitTests(RecoveryCase):
    """Commits that cannot be read."""

    def life(self) -> Life:
        life = Life()
        life.start(A)
        life.commit(section(1, b"1=aa"), instances={ONE: 1, TWO: 1})
        life.commit(section(1, b"1=bbb"), section(2, b"2=c"), instances={ONE: 2})
        life.seal(*keys([1]))
        life.commit(section(2, b"2=dd"), instances={TWO: 2})
        return life

    def test_batch_without_body(self) -> None:
        """A batch that lacks a commit keeps its numbers; what was readable of it is not sealed again."""
        contents = closed(self.life())
        found, damage, folder = self.started(spoil(contents, 1, frames_of(contents, 1, Kind.COMMIT)[0]))
        self.assertEqual([seal.seq for seal in damage.incomplete], [1])
        self.assertEqual(found.held[(A, 1), 1].body, b"DAMAGED")
        self.assertEqual(found.held[(A, 1), 1].events, 5)
        self.assertEqual([part[3] for part in found.waiting[A, 2]], [b"2=c;", b"2=dd;"])
        self.assertEqual((damage.commits, damage.events, damage.seals), (1, 0, 0))
        self.assertFoundAgain(folder, found)

    def test_batch_without_body_is_set_aside(self) -> None:
        """When the store does not have it either, its lane sets it aside; then it is over."""
        contents = closed(self.life())
        folder = TracedFolder.of(spoil(contents, 1, frames_of(contents, 1, Kind.COMMIT)[0]))
        life = Life(folder)
        recovered = life.start(B)
        (batch,) = recovered.batches[A, 1]
        self.assertEqual(life.spool.read_batches([(1, batch.held())]), [None])
        life.give(Aside(A, 1, 1, "damaged", True, 0, 5))
        life.sync()
        life.spool.close()
        recovered = Spool(folder, checksum).open()
        self.assertEqual((recovered.damage, dict(recovered.batches)), (None, {}))
        self.assertEqual(recovered.snapshot.ledger["refused.damaged"], 5)

    def test_events_that_no_batch_has_are_counted(self) -> None:
        """Of a lost commit those events are given up that are in no batch: the store may know of the others."""
        contents = closed(self.life())
        found, damage, folder = self.started(spoil(contents, 1, frames_of(contents, 1, Kind.COMMIT)[1]))
        self.assertEqual((damage.commits, damage.events), (1, 1))
        self.assertEqual(found.ledger[DAMAGED_LINE], 1)
        self.assertFoundAgain(folder, found)

    def test_instances_are_forgotten(self) -> None:
        """An instance whose last number may have been lost is unknown, unless a later commit names it."""
        contents = closed(self.life())
        found, damage, _ = self.started(spoil(contents, 1, frames_of(contents, 1, Kind.COMMIT)[1]))
        self.assertEqual(found.instances, {TWO: 2})
        self.assertEqual(damage.instances, 1)

    def test_later_snapshot_knows_the_instances(self) -> None:
        """A snapshot has all last numbers: nobody is forgotten for what was lost before it."""
        life = self.life()
        life.turn(A)
        contents = closed(life)
        found, damage, _ = self.started(spoil(contents, 1, frames_of(contents, 1, Kind.COMMIT)[1]))
        self.assertEqual(found.instances, {ONE: 2, TWO: 2})
        self.assertEqual(damage.instances, 0)

    def test_lost_segment(self) -> None:
        """A whole segment may be missing: what was in it is counted by what stands around it."""
        life = Life()
        life.start(A)
        life.commit(section(1, b"1=aa"))
        life.turn(A)
        life.commit(section(1, b"1=bbb"))
        life.seal(*keys([1]))
        life.turn(A)
        life.commit(section(1, b"1=cccc"))
        contents = closed(life)
        del contents[segment_name(2)]
        found, damage, folder = self.started(contents)
        self.assertEqual(damage.holes, (Hole(2, 0, 0),))
        self.assertEqual((damage.commits, damage.seals, damage.events), (1, 1, 5))
        self.assertEqual([part[3] for part in found.waiting[A, 1]], [b"1=cccc;"])
        self.assertEqual(found.lanes[A, 1].given, 1)
        self.assertFoundAgain(folder, found)

    def test_emptied_segment(self) -> None:
        """A segment without any bytes is damage, too, and the next segment takes another place."""
        life = self.life()
        life.turn(B)
        contents = closed(life)
        contents[segment_name(2)] = b""
        found, damage, folder = self.started(contents)
        self.assertEqual(damage.holes, (Hole(2, 0, 0),))
        self.assertIn(segment_name(3), folder.directory)
        self.assertFoundAgain(folder, found)


class LostSnapshotTests(RecoveryCase):
    """Snapshots stand twice; still both may be lost."""

    def life(self) -> Life:
        life = Life()
        life.start(A)
        life.commit(section(1, b"1=aa"), instances={ONE: 1})
        life.seal(*keys([1]))
        life.turn(A)
        life.commit(section(1, b"1=bbb"), section(2, b"2=c"), instances={TWO: 1})
        life.seal(*keys([1]))
        return life

    def test_one_copy_is_enough(self) -> None:
        """One damaged copy of a snapshot is noticed, and costs nothing."""
        life = self.life()
        contents, said = closed(life), life.account()
        for copy in frames_of(contents, 2, Kind.OPENING):
            found, damage, folder = self.started(spoil(contents, 2, copy))
            self.assertEqual((found.held, found.waiting, found.instances), (said.held, said.waiting, said.instances))
            self.assertEqual((damage.commits, damage.seals, damage.events, damage.instances), (0, 0, 0, 0))
            self.assertFoundAgain(folder, found)

    def test_opening_of_a_later_segment(self) -> None:
        """The segment before it tells all that it said."""
        life = self.life()
        contents, said = closed(life), life.account()
        found, _, folder = self.started(spoil(contents, 2, *frames_of(contents, 2, Kind.OPENING)))
        self.assertEqual((found.held, found.waiting, found.instances), (said.held, said.waiting, said.instances))
        self.assertFoundAgain(folder, found)

    def test_opening_of_the_first_segment(self) -> None:
        """What came before is not known: lanes without a later seal are given up, instances forgotten."""
        life = self.life()
        life.release(((A, 1), 1))
        life.drop()
        contents = closed(life)
        self.assertEqual(list(contents), [segment_name(2)])
        found, damage, folder = self.started(spoil(contents, 2, *frames_of(contents, 2, Kind.OPENING)))
        self.assertEqual(list(found.held), [((A, 1), 2)])
        self.assertEqual((found.waiting, damage.events), ({}, 1))
        self.assertEqual(found.instances, {TWO: 1})
        self.assertFoundAgain(folder, found)

    def test_everything_unreadable(self) -> None:
        """A spool of noise is opened, too, and goes on from nothing."""
        contents = closed(self.life())
        noise = {name: bytes(len(content)) for name, content in contents.items()}
        found, damage, folder = self.started(noise)
        self.assertEqual(len(damage.holes), 2)
        self.assertEqual((found.incarnation, found.held, found.next_commit), ("", {}, 1))
        self.assertFoundAgain(folder, found)

    def test_nothing_is_acted_upon_before_it_is_noted(self) -> None:
        """Damage makes uncertain what else was found: it waits for the first segment, which notes what was decided."""
        life = self.life()
        life.turn(B)
        contents = closed(life)
        spool = Spool(TracedFolder.of(spoil(contents, 2, frames_of(contents, 2, Kind.COMMIT)[0])), checksum)
        recovered = spool.open()
        self.assertEqual(recovered.doubtful, {(A, 1)})
        self.assertEqual(spool.drop_segments(9), 0)
        spool.start_segment(evolve(recovered.snapshot, incarnation=B))
        self.assertGreater(spool.drop_segments(9), 0)

    def test_nothing_but_the_mark(self) -> None:
        """Commits go on under the next number, though nothing of those before can be read."""
        life = Life()
        life.start(A)
        life.commit(section(1, b"1=aa"))
        contents = closed(life)
        name = segment_name(1)
        contents[name] = bytes(len(contents[name]) - HEADER_BYTES) + contents[name][-HEADER_BYTES:]
        folder = TracedFolder.of(contents)
        spool = Spool(folder, checksum)
        recovered = spool.open()
        self.assertEqual(recovered.snapshot.next_commit, 2)
        spool.start_segment(evolve(recovered.snapshot, incarnation=B))
        spool.write([Commit(2, B, 0.0, {}, {}, (section(1, b"1=b"),), 8)])
        spool.close()
        self.assertEqual([each.commit for each in Spool(folder, checksum).open().waiting[B, 1]], [2])

    def test_failed_segment_when_the_next_opening_is_lost(self) -> None:
        """A segment whose sync failed is read to its first damage; what stands in the next one as well counts once."""
        life = Life()
        life.start(A)
        life.commit(section(1, b"1=aa"), section(2, b"2=b"))
        life.seal(*keys([1, 2]))
        life.commit(section(1, b"1=bbb"), instances={ONE: 1})
        life.sync()
        life.seal(*keys([1]))
        life.aside((A, 1), 1, "too old", True)
        life.commit(section(1, b"1=c"), instances={ONE: 2})
        life.give(evolve(life.spool.snapshot(), vbuckets=9))
        life.commit(section(1, b"1=e"))
        life.failing("sync " + segment_name(1))
        self.assertRaises(OSError, life.sync)
        life.fail_over()
        life.commit(section(1, b"1=d"))
        contents, said = closed(life), life.account()
        opening = frames_of(contents, 2, Kind.OPENING)
        for kept in range(6):
            first = contents[segment_name(1)]
            cut = [frame.end for frame in scan(1, first, checksum).frames][kept - 6]
            torn = contents | {segment_name(1): first[:cut]}
            found, damage, folder = self.started(spoil(torn, 2, *opening))
            self.assertEqual(found.held, said.held)
            self.assertEqual((found.waiting, found.ledger, found.lanes), (said.waiting, said.ledger, said.lanes))
            self.assertEqual(damage.events, 0)
            self.assertFoundAgain(folder, found)


class OddRecordTests(RecoveryCase):
    """Records that are whole and say what cannot be."""

    def test_record_of_another_kind(self) -> None:
        """A whole frame of a kind that this build does not know is damage, and the rest is read."""
        life = Life()
        life.start(A)
        life.commit(section(1, b"1=aa"))
        life.sync()
        life.commit(section(1, b"1=bbb"))
        contents = closed(life)
        frame = frames_of(contents, 1, Kind.COMMIT)[0]
        content = bytearray(contents[segment_name(1)])
        content[frame.offset + 16] = 99
        seed = checksum((1).to_bytes(8, "little"))
        check = checksum(bytes(content[frame.offset + 8 : frame.offset + HEADER_BYTES]), seed)
        content[frame.offset + 4 : frame.offset + 8] = check.to_bytes(4, "little")
        found, damage, folder = self.started(contents | {segment_name(1): bytes(content)})
        self.assertEqual(damage.holes, (Hole(1, frame.offset, frame.end - frame.offset),))
        self.assertEqual((damage.commits, damage.events), (1, 2))
        self.assertEqual([part[3] for part in found.waiting[A, 1]], [b"1=bbb;"])
        self.assertFoundAgain(folder, found)

    def test_foreign_files_are_left_alone(self) -> None:
        """Only segments are read."""
        recovery = recover([], lambda number: b"", lambda extent: b"", checksum)
        self.assertEqual(recovery.recovered.snapshot.next_commit, 1)
        folder = TracedFolder.of({"README": b"x", "segment-1": b"y"})
        Spool(folder, checksum).open()
        self.assertEqual(folder.contents(), {"README": b"x", "segment-1": b"y"})


class SecondDamageTests(RecoveryCase):
    """A spool that was damaged before."""

    def test_new_damage_beside_the_old(self) -> None:
        """Only what is new is told and counted."""
        life = Life()
        life.start(A)
        for text in (b"1=a", b"1=bb", b"1=ccc", b"1=dddd"):
            life.commit(section(1, text))
            life.sync()
        contents = closed(life)
        first, _, third, _ = frames_of(contents, 1, Kind.COMMIT)
        found, damage, folder = self.started(spoil(contents, 1, first))
        self.assertEqual((damage.events, found.ledger[DAMAGED_LINE]), (1, 1))
        found, damage, folder = self.started(spoil(folder.contents(), 1, third))
        self.assertEqual(damage.holes, (Hole(1, third.offset, third.end - third.offset),))
        self.assertEqual((damage.events, found.ledger[DAMAGED_LINE]), (3, 4))
        self.assertEqual([part[3] for part in found.waiting[A, 1]], [b"1=bb;", b"1=dddd;"])
        self.assertFoundAgain(folder, found)

    def test_damage_is_forgotten_with_its_segment(self) -> None:
        """When a damaged segment is dropped, later segments speak of it no more."""
        life = Life()
        life.start(A)
        life.commit(section(1, b"1=a"))
        life.sync()
        contents = closed(life)
        folder = TracedFolder.of(spoil(contents, 1, frames_of(contents, 1, Kind.COMMIT)[0]))
        second = Life(folder)
        recovered = second.start(B)
        self.assertIsNotNone(recovered.damage)
        second.drop()
        second.spool.start_segment(second.spool.snapshot())
        second.spool.close()
        found = scan(2, folder.contents()[segment_name(2)], checksum)
        self.assertEqual([segment_number(name) for name in folder.names() if "segment" in name], [2])
        self.assertNotIn(Kind.DISCARD, [frame.kind for frame in found.frames])

    def test_copies_of_what_was_damaged(self) -> None:
        """The damaged bytes are kept in a file, once; the disk may refuse that."""
        life = Life()
        life.start(A)
        life.commit(section(1, b"1=a"))
        contents = closed(life)
        frame = frames_of(contents, 1, Kind.COMMIT)[0]
        spoiled = spoil(contents, 1, frame)
        hole = Hole(1, frame.offset, frame.end - frame.offset)
        folder = TracedFolder.of(spoiled)
        for _ in range(2):
            Spool(folder, checksum).open()
            folder.locked = False
            self.assertEqual(folder.contents()[damaged_name(hole)], bytes(hole.length))
        self.assertEqual([step.verb for step in folder.trace].count("rename"), 1)
        folder = TracedFolder.of(spoiled)
        folder.failing["write opening"] = [OSError(28, "full")]
        self.assertIsNotNone(Spool(folder, checksum).open().damage)
        self.assertEqual(sorted(folder.contents()), sorted(spoiled))


class RecordTests(SynchronousTestCase):
    """Small things that recovery rests on."""

    def test_hole_covers(self) -> None:
        """A hole covers what lies in it."""
        hole = Hole(1, 10, 5)
        self.assertTrue(hole.covers(Hole(1, 10, 5)) and hole.covers(Hole(1, 12, 1)))
        for other in (Hole(2, 10, 5), Hole(1, 9, 2), Hole(1, 14, 2)):
            self.assertFalse(hole.covers(other))

    def test_aside_of_a_lanes_decision(self) -> None:
        """The record says what the lane decided."""
        life = Life()
        life.start(A)
        life.commit(section(1, b"1=aa"))
        life.seal(*keys([1]))
        life.sync()
        life.spool.close()
        held = Life(life.folder).start(B).batches[A, 1][0].held()
        aside = Aside.of(SetAside(A, 1, held, "too old", True))
        self.assertEqual(aside, Aside(A, 1, 1, "too old", True, 0, 2))
        self.assertEqual(Discard(A, 1, 2), Discard(A, 1, 2))
        self.assertEqual(split(b"1=aa;"), [(1, 2, b"1=aa;")])
        self.assertEqual(len(CLUSTER), 32)
