"""How full or late logs refuse batches: not at all, by chance, always; by shard when full, each alone when late."""

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
            self.assertEqual(throttle(depth(0, waiting)).probability(0), probability)

    def test_all_logs_of_a_shard_together(self) -> None:
        """The logs of a shard count together, those of another shard do not."""
        seen = throttle(depth(0, 1_500), depth(9, 1_500), depth(10, 900))
        self.assertEqual((seen.probability(0), seen.probability(10)), (0.5, 0.0))

    def test_soft_limit_above_the_hard_one(self) -> None:
        """Where a file has a QUEUE_CAPACITY below the default soft limit, the hard one alone counts."""
        for waiting, probability in ((500, 0.0), (501, 1.0)):
            self.assertEqual(throttle(depth(0, waiting), hard=500).probability(0), probability)

    @given(st.lists(st.integers(0, 10_000), min_size=2), st.integers(0, 6_000), st.integers(0, 6_000))
    def test_rises(self, sizes: Sequence[int], soft: int, hard: int) -> None:
        """The more waits, the more is refused; and it is a probability."""
        found = [throttle(depth(0, each), soft=soft, hard=hard).probability(0) for each in sorted(sizes)]
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


LATE = 10.0


def waiting(vbucket: int, since: float) -> LogDepth:
    """A log whose oldest batch came at a time."""
    return LogDepth(vbucket, 1, 100, since)


class LateTests(SynchronousTestCase):
    """Logs that hold little, but for long."""

    def setUp(self) -> None:
        self.throttle = Throttle(SOFT, HARD, lambda vbucket: "a" if vbucket < 10 else "b", LATE)

    def look(self, wall: float, *depths: LogDepth) -> float:
        """See logs at a time; how probably a request for shard a is refused then."""
        self.throttle.looked(depths, wall)
        return self.throttle.probability(0)

    def test_late_while_be_works(self) -> None:
        """While be folds, but is late, requests are refused from QUEUE_THROTTLE_SECONDS on, at twice that all."""
        for wall in range(1_000, 1_010):
            self.look(wall, waiting(0, wall - 9))
        self.assertEqual(self.look(1_010, waiting(0, 1_001)), 0.0)
        self.assertEqual(self.look(1_010, waiting(0, 995)), 1.0)
        for wall in range(1_011, 1_020):
            self.look(wall, waiting(0, wall - 15))
        self.assertEqual(self.look(1_020, waiting(0, 1_005)), 0.5)
        self.assertEqual(self.throttle.probability(10), 0.0)

    def test_falling_behind(self) -> None:
        """A log that grows ten times as fast as it is folded is refused long before it is late."""
        for tenth in range(21):
            wall = 1_000 + tenth / 10
            probability = self.look(wall, waiting(0, 1_000 + tenth / 100))
        self.assertAlmostEqual(wall - 1_000, 2.0)
        self.assertGreater(probability, 0.7)

    def test_much_at_once(self) -> None:
        """A log that got half a minute of work at once refuses while that is too much, and no longer: it is judged by
        what is left, and how much of it goes, not by how long ago it came.
        """
        found = {}
        for tenth in range(1, 250):
            size = 3_000 - 10 * tenth  # it came within a second and a half, 100 bytes are folded in a second
            depth = LogDepth(0, 1, size, 1_000 + tenth / 200)
            found[tenth / 10] = self.look(1_000 + tenth / 10, depth)
        self.assertEqual([found[each] for each in (8.0, 22.0, 24.0)], [1.0, 0.0, 0.0])
        self.assertGreater(found[18.0], 0.1)

    def test_short_pause(self) -> None:
        """A be that was away for two seconds is late, and no reason to refuse anything."""
        for wall in range(1_000, 1_010):
            self.look(wall, waiting(0, wall - 1))
        for wall in (1_010, 1_011):
            self.assertEqual(self.look(wall, waiting(0, 1_008)), 0.0)
        self.assertEqual(self.look(1_012, waiting(0, 1_011)), 0.0)

    def test_no_be_at_work(self) -> None:
        """While nothing is folded, logs take what fits in, however old it gets."""
        for wall in range(1_000, 1_100):
            self.assertEqual(self.look(wall, waiting(0, 1_000), waiting(10, wall - 1)), 0.0)

    def test_one_log_stands_still(self) -> None:
        """A vbucket that nobody folds does not stop its shard for the others, and takes itself what fits in; when it is
        folded again, it gets nothing more until that has caught up, and the others do.
        """
        for wall in range(1_000, 1_060):
            self.assertEqual(self.look(wall, waiting(0, 1_000), waiting(1, wall - 0.5)), 0.0)
            self.assertEqual(self.throttle.probability(1), 0.0)
        self.assertEqual(self.look(1_060, waiting(0, 1_001), waiting(1, 1_059.5)), 1.0)
        self.assertEqual(self.throttle.refuses([0, 1, 2], never_asked), {0})

    def test_be_dies(self) -> None:
        """From a be's death until others have its vbuckets, seconds later, nothing is refused: neither what is for
        those nor what is for others of their shard; nor afterwards, while they catch up.
        """
        for tenth in range(200):
            wall = 1_000 + tenth / 10
            dead = min(wall, 1_010) if wall < 1_014 else min(wall, 1_010 + 3 * (wall - 1_014))
            self.assertEqual(self.look(wall, waiting(0, dead - 0.5), waiting(1, wall - 0.5)), 0.0, wall)
            self.assertEqual(self.throttle.probability(1), 0.0)

    def test_be_comes_back(self) -> None:
        """A be that comes back to logs that are an hour behind gets nothing more until it has caught up."""
        self.look(5_000, waiting(0, 1_400), waiting(1, 1_400))
        self.assertEqual(self.look(5_010, waiting(0, 1_410)), 1.0)
        self.assertEqual(self.look(5_013, waiting(0, 5_009)), 0.0)

    def test_told_with_its_lag(self) -> None:
        """The operator is told how late a shard is: as the latest of its logs."""
        self.look(1_000, waiting(0, 979), waiting(1, 999))
        seen = [waiting(0, 980), waiting(1, 1_000)]
        self.assertEqual(self.throttle.looked(seen, 1_001.0), [Change("a", True, 200)])
        self.assertGreaterEqual(self.throttle.lag["a"], 21.0)

    def test_no_limit(self) -> None:
        """Without QUEUE_THROTTLE_SECONDS nothing is ever too late."""
        self.throttle.late = None
        self.look(1_000, waiting(0, 100))
        self.assertEqual(self.look(1_001, waiting(0, 101)), 0.0)
