"""Which batches follow from commits: numbers without gaps, each section once, in the order of commits."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.agent import sealing
from taba.agent.records import Aside, Commit, Extent, LaneNumbers, Section
from taba.agent.sealing import Sealing

LANE = ("1" * 32, 3)


def commit(number: int, data: bytes = b"data", events: int = 2, divided: int = 4, time: float = 0.0) -> Commit:
    """A commit with one section."""
    section = Section(LANE[1] if divided else 0, events, data)
    return Commit(number, LANE[0], time or 100.0 + number, {}, {}, (section,), divided)


class SealingTests(SynchronousTestCase):
    """One lane."""

    def setUp(self) -> None:
        self.sealing = Sealing(native.crc32c)

    def test_commits_become_a_batch(self) -> None:
        """A batch is the waiting sections, one after another, under the lane's next number."""
        for number in (1, 2):
            self.sealing.add(commit(number, b"%d" % number))
        (sealed,) = self.sealing.seal([LANE])
        seal = sealed.seal
        self.assertEqual((sealed.body, seal.seq, seal.after, seal.before, seal.events), (b"12", 1, 0, 0, 4))
        self.assertEqual((seal.first_commit, seal.last_commit, seal.checksum), (1, 2, native.crc32c(b"12")))
        self.sealing.add(commit(3))
        (following,) = self.sealing.seal([LANE])
        self.assertEqual((following.seal.seq, following.seal.after, following.seal.before), (2, 1, 4))

    def test_sealed_at_the_time_of_the_oldest(self) -> None:
        """Rule commit_time_as_seal_time: a batch is as old as the oldest commit in it."""
        self.sealing.add(commit(1, time=50.0))
        self.sealing.add(commit(2, time=70.0))
        self.assertEqual(self.sealing.seal([LANE])[0].seal.sealed, 50.0)

    def test_much_becomes_several_batches(self) -> None:
        """Servers limit requests: what waits is cut into batches between commits, with consecutive numbers."""
        third = b"x" * (sealing.BATCH_BYTES // 2 + 1)
        for number in range(1, 5):
            self.sealing.add(commit(number, third))
        sealed = self.sealing.seal([LANE])
        self.assertEqual([each.seal.seq for each in sealed], [1, 2, 3, 4])
        self.assertEqual([each.seal.first_commit for each in sealed], [1, 2, 3, 4])
        self.assertEqual([each.seal.last_commit for each in sealed], [1, 2, 3, 4])
        self.assertEqual((self.sealing.waiting, self.sealing.size), ({}, 0))

    def test_passed_over(self) -> None:
        """A number that the store will never take is not followed, and its events were not given."""
        self.sealing.numbers[LANE] = LaneNumbers(given=5, events=50, follows=5)
        self.sealing.aside(Aside(*LANE, 5, "too old", True, 4, 10))
        self.assertEqual(self.sealing.numbers[LANE], LaneNumbers(given=5, events=40, follows=4))
        self.sealing.add(commit(1))
        seal = self.sealing.seal([LANE])[0].seal
        self.assertEqual((seal.seq, seal.after, seal.before), (6, 4, 40))

    def test_conflict_is_not_passed_over(self) -> None:
        """After a conflict the store has the number, so the numbers stay."""
        self.sealing.numbers[LANE] = LaneNumbers(given=5, events=50, follows=5)
        self.sealing.aside(Aside(*LANE, 5, "conflict", False, 4, 10))
        self.assertEqual(self.sealing.numbers[LANE], LaneNumbers(given=5, events=50, follows=5))

    def test_waits_for_what_is_to_be_sent(self) -> None:
        """While batches of a lane are still to be sent, new commits wait: up to a size and an age."""
        self.sealing.add(commit(1, time=100.0))
        self.assertEqual(self.sealing.ripe(LANE[0], 101.0, lambda *_: 2), [])
        self.assertEqual(self.sealing.ripe(LANE[0], 101.0, lambda *_: 1), [LANE])
        self.assertEqual(self.sealing.ripe(LANE[0], 100.0 + sealing.RIPE_SECONDS, lambda *_: 9), [LANE])
        self.assertEqual(self.sealing.ripe("2" * 32, 101.0, lambda *_: 9), [LANE])
        self.sealing.add(commit(2, b"x" * sealing.RIPE_BYTES))
        self.assertEqual(self.sealing.ripe(LANE[0], 101.0, lambda *_: 9), [LANE])

    def test_divided_in_the_order_of_commits(self) -> None:
        """Sections from before the cluster was known come before those of later commits, though divided later."""
        for number in (1, 2):
            (piece,) = self.sealing.add(commit(number, b"%d" % number, divided=0))
            piece.extent = Extent(1, number, 1)
        self.sealing.add(commit(3, b"3"))
        parts = self.sealing.divide(lambda data: [native.Section(LANE[1], 2, data)])
        self.assertEqual(parts, {LANE[0]: [(LANE[1], 1), (LANE[1], 2)]})
        (sealed,) = self.sealing.seal([LANE])
        self.assertEqual((sealed.body, sealed.seal.first_commit, sealed.seal.last_commit), (b"123", 1, 3))
        self.assertTrue(all(piece.extent is None or piece.extent.undivided for piece in sealed.pieces))

    def test_parts_that_were_sealed(self) -> None:
        """After a restart the parts of an undivided section that seals hold already do not wait again."""
        self.sealing.through = {LANE: 1}
        for number in (1, 2):
            self.sealing.add(commit(number, b"%d" % number, divided=0))
        self.sealing.divide(lambda data: [native.Section(LANE[1], 2, data)])
        self.assertEqual(self.sealing.seal([LANE])[0].body, b"2")

    def test_unreadable(self) -> None:
        """A section that cannot be read keeps its lane waiting, and is given up at last."""
        for number in (1, 2):
            self.sealing.add(commit(number, b"%d" % number))
        self.sealing.waiting[LANE][0].data = None
        self.assertFalse(self.sealing.readable(LANE))
        self.assertEqual(self.sealing.give_up(3), 0)
        self.sealing.waiting[LANE][0].tries = 3
        self.assertEqual(self.sealing.give_up(3), 2)
        self.assertTrue(self.sealing.readable(LANE))
        self.assertEqual(self.sealing.seal([LANE])[0].body, b"2")
