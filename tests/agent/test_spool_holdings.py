"""What of the spool is still needed."""

from __future__ import annotations

from attrs import evolve
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.agent.holdings import Holdings
from taba.agent.records import Commit, LaneNumbers, Seal, Section, Snapshot
from tests.agent.spool_life import ONE, TWO, A, B
from tests.strategies import law


def commit(number: int, *vbuckets: int, divided: int = 8) -> Commit:
    """A commit with a section for each vbucket."""
    return Commit(number, A, 0.0, {}, {}, tuple(Section(vbucket, 1, b"x") for vbucket in vbuckets), divided)


def seal(vbucket: int, seq: int, first: int, last: int) -> Seal:
    """A seal of these commits."""
    return Seal(A, vbucket, seq, seq - 1, 0, 1, 0.0, 0, first, last, 1)


class HoldingsTests(SynchronousTestCase):
    """The oldest commit that is needed."""

    def test_nothing(self) -> None:
        """When nothing is held, what comes next is needed first."""
        self.assertEqual(Holdings().first_needed(), 1)
        self.assertEqual(Holdings(7).first_needed(), 7)

    def test_waiting_sealed_released(self) -> None:
        """A section is needed until its batch is released."""
        holdings = Holdings()
        holdings.add(commit(1, 1, 2))
        holdings.add(commit(2, 2))
        holdings.seal(seal(1, 1, 1, 1))
        self.assertEqual(holdings.first_needed(), 1)
        holdings.release(A, 1, 1)
        self.assertEqual(holdings.first_needed(), 1)
        holdings.seal(seal(2, 1, 1, 1))
        holdings.release(A, 2, 1)
        self.assertEqual(holdings.first_needed(), 2)
        holdings.seal(seal(2, 2, 2, 2))
        holdings.release(A, 2, 2)
        holdings.release(A, 2, 2)
        self.assertEqual(holdings.first_needed(), 3)

    def test_commits_come_in_order(self) -> None:
        """A commit that was left out would be dropped unseen."""
        self.assertRaises(ValueError, Holdings().add, commit(2, 1))

    def test_undivided(self) -> None:
        """An undivided section is needed until all its parts are done with."""
        holdings = Holdings()
        holdings.add(commit(1, 0, divided=0))
        holdings.add(commit(2, 0, divided=0))
        self.assertTrue(holdings.holds((A, 5)))
        holdings.divide(A, 1, [(1, 1)])
        self.assertTrue(holdings.holds((A, 5)))
        holdings.divide(A, 2, [(2, 2)])
        holdings.divide(B, 2, [])
        self.assertFalse(holdings.holds((A, 5)))
        holdings.seal(seal(1, 1, 1, 1))
        holdings.release(A, 1, 1)
        self.assertEqual(holdings.first_needed(), 2)
        self.assertTrue(holdings.holds((A, 2)))

    def test_trim(self) -> None:
        """A snapshot is spared idle instances, and older incarnations' lanes of which nothing is held."""
        holdings = Holdings()
        holdings.add(commit(1, 1, 2))
        holdings.seal(seal(1, 1, 1, 1))
        numbers = LaneNumbers(1, 1, 1)
        lanes = {(A, 1): numbers, (A, 2): numbers, (A, 3): numbers, (B, 3): numbers}
        snapshot = Snapshot(B, None, 0, 2, {ONE: (1, 5.0), TWO: (1, 9.0)}, lanes)
        trimmed = holdings.trim(snapshot, 6.0)
        kept = {(A, 1): numbers, (A, 2): numbers, (B, 3): numbers}
        self.assertEqual(trimmed, evolve(snapshot, instances={TWO: (1, 9.0)}, lanes=kept, first_needed=1))
        self.assertEqual(holdings.trim(snapshot).instances, snapshot.instances)

    @law(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), max_size=60), examples=100)
    def test_oldest_is_oldest(self, steps: list[tuple[int, int]]) -> None:
        """After any commits, seals and releases the oldest commit is that of a plain count."""
        holdings, waiting, batches, given = Holdings(), dict[int, list[int]](), dict[tuple[int, int], int](), 0
        for verb, chosen in steps:
            if verb == 0:
                holdings.add(commit(holdings.next_commit, chosen % 3))
                waiting.setdefault(chosen % 3, []).append(holdings.next_commit - 1)
            elif verb == 1 and waiting.get(chosen % 3):
                commits, given = waiting[chosen % 3], given + 1
                through = commits[chosen % len(commits)]
                holdings.seal(seal(chosen % 3, given, commits[0], through))
                batches[chosen % 3, given] = commits[0]
                waiting[chosen % 3] = [each for each in commits if each > through]
            elif verb == 2 and batches:
                vbucket, seq = sorted(batches)[chosen % len(batches)]
                holdings.release(A, vbucket, seq)
                del batches[vbucket, seq]
            held = [*batches.values(), *(each for commits in waiting.values() for each in commits)]
            self.assertEqual(holdings.first_needed(), min(held, default=holdings.next_commit))
