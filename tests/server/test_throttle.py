"""How full logs refuse batches: not at all, by chance, always; shard by shard."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.interfaces import LogDepth
from taba.server.throttle import Change, Throttle

SOFT, HARD = 1_000, 5_000


def depth(vbucket: int, size: int) -> LogDepth:
    """What waits in a log."""
    return LogDepth(vbucket, 1, size, 0.0)


def throttle(*depths: LogDepth, soft: int = SOFT, hard: int = HARD) -> Throttle:
    """A throttle that has seen these logs, with vbuckets below ten on shard a, the others on b."""
    made = Throttle(soft, hard, lambda vbucket: "a" if vbucket < 10 else "b")
    made.looked(depths)
    return made


def never_asked() -> float:
    """Chance that is not to be asked."""
    raise AssertionError("nothing is left to chance here")


class ProbabilityTests(SynchronousTestCase):
    """How probably a request is refused."""

    def test_straight_line(self) -> None:
        """Nothing is refused up to the soft limit, everything from the hard one on, and the middle half of the time."""
        for waiting, probability in ((0, 0.0), (1_000, 0.0), (2_000, 0.25), (3_000, 0.5), (5_000, 1.0), (9_000, 1.0)):
            self.assertEqual(throttle(depth(0, waiting)).probability("a"), probability)

    def test_all_logs_of_a_shard_together(self) -> None:
        """The logs of a shard count together, those of another shard do not."""
        seen = throttle(depth(0, 1_500), depth(9, 1_500), depth(10, 900))
        self.assertEqual((seen.probability("a"), seen.probability("b")), (0.5, 0.0))

    def test_soft_limit_above_the_hard_one(self) -> None:
        """Where a file has a QUEUE_CAPACITY below the default soft limit, the hard one alone counts."""
        for waiting, probability in ((500, 0.0), (501, 1.0)):
            self.assertEqual(throttle(depth(0, waiting), hard=500).probability("a"), probability)

    @given(st.lists(st.integers(0, 10_000), min_size=2), st.integers(0, 6_000), st.integers(0, 6_000))
    def test_rises(self, sizes: Sequence[int], soft: int, hard: int) -> None:
        """The more waits, the more is refused; and it is a probability."""
        found = [throttle(depth(0, each), soft=soft, hard=hard).probability("a") for each in sorted(sizes)]
        self.assertEqual(found, sorted(found))
        self.assertTrue(all(0.0 <= each <= 1.0 for each in found))


class RefusalTests(SynchronousTestCase):
    """What is refused of a request."""

    def test_chance_decides_between(self) -> None:
        """Between the limits chance decides; what it decides is for the whole shard."""
        seen = throttle(depth(0, 2_000))
        self.assertEqual(seen.refuses([0, 5, 10], lambda: 0.249), {0, 5})
        self.assertEqual(seen.refuses([0, 5, 10], lambda: 0.25), set())
        self.assertEqual(seen.refused["a"], 2)

    def test_asked_once(self) -> None:
        """A request for many shards is not refused the more often."""
        chance = iter([0.1])
        seen = throttle(depth(0, 2_000), depth(10, 2_000))
        self.assertEqual(seen.refuses([0, 10], lambda: next(chance)), {0, 10})

    def test_no_chance_where_none_is_needed(self) -> None:
        """Below and above the limits nothing is drawn."""
        seen = throttle(depth(0, 6_000), depth(10, 10))
        self.assertEqual(seen.refuses([0, 1, 10], never_asked), {0, 1})

    def test_told_once(self) -> None:
        """The beginning and the end are told, not what is between."""
        seen = throttle()
        self.assertEqual(seen.looked([depth(0, 2_000)]), [Change("a", True, 2_000)])
        self.assertEqual(seen.looked([depth(0, 2_500)]), [])
        self.assertEqual(seen.looked([]), [Change("a", False, 0)])
