"""Which batches follow from commits: numbers without gaps, each section once, in the order of commits."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.agent import sealing
from taba.agent.extents import Extents
from taba.agent.holdings import Holdings
from taba.agent.records import Aside, Commit, Extent, LaneNumbers, Section, Snapshot, Waiting
from taba.agent.recovery import Recovered
from taba.agent.sealing import Piece, Sealing

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

    def test_after_a_restart(self) -> None:
        """What an older incarnation committed is read again and sealed under it, as of the time of its commits."""
        waiting = tuple(Waiting(LANE[0], LANE[1], number, 50.0 + number, 2, Extent(1, number, 1)) for number in (1, 2))
        recovered = evolve(spread(), waiting={LANE: waiting})
        snapshot = evolve(recovered.snapshot, lanes={LANE: LaneNumbers(given=4, events=40, follows=4)})
        self.sealing.recover(evolve(recovered, snapshot=snapshot))
        self.assertEqual((self.sealing.events(), self.sealing.size, self.sealing.seal([LANE])), (4, 2, []))
        self.assertEqual(self.sealing.ripe("2" * 32, 0.0, lambda *_: 9), [LANE])
        for piece in self.sealing.unread([LANE]):
            piece.data = b"%d" % piece.commit
        (sealed,) = self.sealing.seal([LANE])
        self.assertEqual((sealed.body, sealed.seal.seq, sealed.seal.before, sealed.seal.sealed), (b"12", 5, 40, 51.0))

    def test_much_does_not_wait(self) -> None:
        """When all lanes together have much, all are sealed, whatever is still to be sent."""
        for vbucket, length in ((5, sealing.RIPE_BYTES - 1), (LANE[1], 1)):
            section = Section(vbucket, 1, b"x" * length)
            self.sealing.add(Commit(1 + vbucket, LANE[0], 100.0, {}, {}, (section,), 8))
        self.assertEqual(self.sealing.ripe(LANE[0], 100.0, lambda *_: 9), [])
        self.sealing.size += sealing.MAX_WAITING  # as if others had that much
        self.assertEqual(self.sealing.ripe(LANE[0], 100.0, lambda *_: 9), [LANE, (LANE[0], 5)])

    def test_how_long_something_waits(self) -> None:
        """The oldest of all lanes counts, and of what is not divided yet; none when nothing waits."""
        self.assertIsNone(self.sealing.oldest())
        self.sealing.add(commit(2, time=70.0))
        self.sealing.add(commit(3, time=60.0))
        self.assertEqual(self.sealing.oldest(), 70.0)
        self.sealing.add(commit(1, time=50.0, divided=0))
        self.assertEqual(self.sealing.oldest(), 50.0)

    def test_nothing_to_read(self) -> None:
        """A lane of which nothing waits needs nothing read, and gives no batch; nor is read what is in memory."""
        self.assertEqual((self.sealing.unread([LANE]), self.sealing.seal([LANE])), ([], []))
        self.sealing.add(commit(1))
        self.assertEqual((self.sealing.unread([LANE]), len(self.sealing.seal([LANE]))), ([], 1))

    def test_unreadable(self) -> None:
        """A section that cannot be read keeps its lane waiting, and is given up at last."""
        for number in (1, 2):
            self.sealing.add(commit(number, b"%d" % number))
        self.sealing.waiting[LANE][0].data = None
        self.assertEqual(self.sealing.seal([LANE]), [])
        self.assertEqual(self.sealing.give_up(3), 0)
        self.sealing.waiting[LANE][0].tries = 3
        self.assertEqual(self.sealing.give_up(3), 2)
        self.assertEqual(self.sealing.seal([LANE])[0].body, b"2")

    def test_read_again_within_limits(self) -> None:
        """Of what a restart found only so much is read as memory takes; the next turn reads on, in whole batches."""
        size = sealing.BATCH_BYTES // 2
        for number in range(1, 21):
            self.sealing.add(commit(number, b"%2d" % number * (size // 2)))
        for piece in self.sealing.waiting[LANE]:
            piece.data = None
        seqs = []
        for _ in range(20):
            pieces = self.sealing.unread([LANE])
            self.assertLessEqual(sum(piece.length for piece in pieces), sealing.READ_BYTES + sealing.BATCH_BYTES)
            for piece in pieces:
                piece.data = b"%2d" % piece.commit * (size // 2)
            sealed = self.sealing.seal([LANE])
            self.assertTrue(sealed)
            seqs += [(each.seal.first_commit, each.seal.last_commit) for each in sealed]
            if not self.sealing.waiting:
                break
        self.assertEqual(seqs, [(first, first + 1) for first in range(1, 21, 2)])


def halves(piece: Piece) -> list[native.Section]:
    """A section of which two vbuckets have one half each."""
    half = piece.length // 2
    return [native.Section(vbucket, 1, b"%d" % vbucket * half) for vbucket in (LANE[1], LANE[1] + 1)]


def spread(*commits: tuple[int, int]) -> Recovered:
    """What a spool gives back that has nothing but undivided sections: (commit, length) each."""
    waiting = [Waiting(LANE[0], 0, number, 1.0, 2, Extent(1, number, length)) for number, length in commits]
    snapshot = Snapshot("", None, 0, 1)
    return Recovered(snapshot, {}, {}, tuple(waiting), {}, Holdings(), None, 0, frozenset())


class StretchTests(SynchronousTestCase):
    """Sections from before the cluster was known."""

    def setUp(self) -> None:
        self.sealing = Sealing(native.crc32c)

    def deal(self, unsent: int = 0) -> list[tuple[int, int, int, int]]:
        """Divide the next stretch and seal it: (vbucket, number, first commit, last commit) of the batches."""
        stretch = self.sealing.next_stretch(lambda *_: unsent)
        if stretch is None:
            return []
        self.sealing.deal(*stretch, [halves(piece) for piece in stretch[1]])
        keys = self.sealing.ripe("2" * 32, 0.0, lambda *_: 9)
        seals = [each.seal for each in self.sealing.seal(keys)]
        return [(seal.vbucket, seal.seq, seal.first_commit, seal.last_commit) for seal in seals]

    def test_one_stretch_after_another(self) -> None:
        """They are divided in the order of commits, so much at a time, and each time sealed as a whole."""
        mib = 1 << 20
        self.sealing.recover(spread(*((number, mib) for number in range(1, 7)), (7, 9 * mib), (8, mib)))
        self.assertEqual(self.deal(), [(3, 1, 1, 4), (4, 1, 1, 4)])
        self.assertEqual(self.deal(), [(3, 2, 5, 6), (4, 2, 5, 6)])
        self.assertEqual(self.deal(), [(3, 3, 7, 7), (4, 3, 7, 7)])
        self.assertEqual(self.deal(), [(3, 4, 8, 8), (4, 4, 8, 8)])
        self.assertEqual((self.deal(), self.sealing.undivided, self.sealing.size), ([], {}, 0))

    def test_a_copy_cuts_alike(self) -> None:
        """An agent that starts from a copy of the disk, taken between two stretches, gives the next numbers to the
        same sections, whatever of the older ones is still held.
        """
        third = sealing.DIVIDE_BYTES // 3
        commits = [(number, third) for number in range(1, 12)]
        self.sealing.recover(spread(*commits))
        cuts = [self.deal(), self.deal(), self.deal(), self.deal()]
        for done, gone in ((1, 0), (1, 2), (2, 1), (2, 4), (3, 5)):
            twin = Sealing(native.crc32c)
            last = cuts[done - 1][0][3]
            through = {LANE: last, (LANE[0], LANE[1] + 1): last}
            recovered = spread(*commits[gone:])
            twin.recover(evolve(recovered, through=through))
            twin.numbers = {key: LaneNumbers(done, 0, done) for key in through}
            self.sealing, found = twin, []
            while self.sealing.undivided:
                found += [self.deal()] if self.sealing.undivided else []
            self.assertEqual([each for each in found if each], cuts[done:])

    def test_waits_for_what_is_to_be_sent(self) -> None:
        """While the servers take nothing, what is on disk stays there; one lane that goes on is enough."""
        self.sealing.recover(spread(*((number, sealing.DIVIDE_BYTES) for number in (1, 2, 3))))
        self.assertTrue(self.deal(unsent=9))
        self.assertEqual(self.deal(unsent=2), [])
        self.assertIsNotNone(self.sealing.next_stretch(lambda _, vbucket: 9 if vbucket == LANE[1] else 1))
        self.assertTrue(self.deal(unsent=1))

    def test_before_later_commits(self) -> None:
        """What was committed later under the same incarnation waits until the sections before are divided."""
        for number in (1, 2):
            (piece,) = self.sealing.add(commit(number, b"%d" % number, divided=0))
            piece.extent = Extent(1, number, sealing.DIVIDE_BYTES)
            piece.length = sealing.DIVIDE_BYTES
        self.sealing.add(commit(3, b"3"))
        self.assertEqual(self.sealing.ripe("2" * 32, 0.0, lambda *_: 0), [])
        self.assertEqual(self.deal(), [(3, 1, 1, 1), (4, 1, 1, 1)])
        self.assertEqual(self.deal(), [(3, 2, 2, 2), (3, 3, 3, 3), (4, 2, 2, 2)])

    def test_parts_that_were_sealed(self) -> None:
        """After a restart the parts that seals hold already do not wait again, and are not counted twice."""
        recovered = evolve(spread((1, 2), (2, 2)), through={LANE: 1})
        self.sealing.recover(recovered)
        self.assertEqual(self.sealing.events(), 2)
        incarnation, stretch = self.sealing.next_stretch(lambda *_: 0) or ("", [])
        self.assertEqual([piece.commit for piece in stretch], [1])
        dealt = self.sealing.deal(incarnation, stretch, [halves(stretch[0])])
        self.assertEqual((dealt.through, dealt.parts, dealt.lost, dealt.change), (1, [(4, 1)], 0, 1))
        self.assertEqual(self.deal(), [(3, 1, 2, 2), (4, 1, 1, 2)])

    def test_given_up(self) -> None:
        """A section that cannot be read has no parts; its events are told."""
        self.sealing.recover(spread((1, 2), (2, 2)))
        incarnation, stretch = self.sealing.next_stretch(lambda *_: 0) or ("", [])
        dealt = self.sealing.deal(incarnation, stretch, [[], halves(stretch[1])])
        self.assertEqual((dealt.lost, dealt.change, dealt.parts), (2, -2, [(3, 2), (4, 2)]))
        self.assertEqual(self.sealing.undivided, {})

    def test_extents(self) -> None:
        """A batch says of which whole sections it is a part."""
        self.sealing.recover(spread((1, 2), (2, 2)))
        incarnation, stretch = self.sealing.next_stretch(lambda *_: 0) or ("", [])
        self.sealing.deal(incarnation, stretch, [halves(piece) for piece in stretch])
        sealed = self.sealing.seal([LANE])[0]
        source = sealed.held().source
        assert isinstance(source, Extents)
        self.assertEqual(list(source), [Extent(1, 1, 2, True), Extent(1, 2, 2, True)])
        self.assertEqual([piece.data for piece in sealed.pieces], [None, None])
