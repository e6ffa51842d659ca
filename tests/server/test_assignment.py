"""Every be knows alone which vbuckets should be with it, and few of them move."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.server.assignment import assigned, preferred, score

VBUCKETS = range(1000)
members = st.dictionaries(st.text("abc", min_size=1, max_size=5), st.floats(0.1, 10.0), min_size=1, max_size=8)


class AssignmentTests(SynchronousTestCase):
    """Laws of the assignment."""

    @given(members, st.text("xyz", min_size=1, max_size=5), st.floats(0.1, 10.0))
    def test_who_joins_moves_its_share_only(self, before: dict[str, float], name: str, weight: float) -> None:
        """A vbucket stays where it was, or goes to the one that joined; the reverse when that one leaves."""
        old, new = assigned(range(64), before), assigned(range(64), {**before, name: weight})
        for vbucket, where in new.items():
            self.assertIn(where, (old[vbucket], name))

    @given(members)
    def test_heavier_gets_more_only(self, before: dict[str, float]) -> None:
        """More weight takes vbuckets from others, and gives none away."""
        name = min(before)
        old, new = assigned(range(64), before), assigned(range(64), {**before, name: 2 * before[name]})
        for vbucket, where in old.items():
            if where == name:
                self.assertEqual(new[vbucket], name)

    def test_shares_follow_weights(self) -> None:
        """Of 1,000 vbuckets each gets its share, give or take four standard deviations."""
        weights = {"a": 1.0, "b": 1.0, "c": 2.0}
        shares = Counter(assigned(VBUCKETS, weights).values())
        for name, weight in weights.items():
            self.assertLess(abs(shares[name] - 250 * weight), 4 * (1000 * 0.25 * weight * (1 - 0.25 * weight)) ** 0.5)

    def test_nonsense_does_no_harm(self) -> None:
        """A weight of nothing, or beyond all measure, leaves the others something to do."""
        shares = Counter(assigned(VBUCKETS, {"a": 1.0, "b": -5.0, "c": 1e300}).values())
        self.assertGreater(shares["a"], 0)
        self.assertLess(shares["b"], 40)

    def test_nobody(self) -> None:
        """Without members nothing is anybody's."""
        self.assertEqual(assigned(VBUCKETS, {}), {})
        self.assertIsNone(preferred(3, {}))

    def test_the_same_for_ever(self) -> None:
        """Releases agree with each other while they run side by side: these figures must not change."""
        weights = {"taba_server.h1.8300": 1.0, "taba_server.h2.8300": 1.0, "taba_server.h3.8300": 1.5}
        self.assertEqual("".join(where[13] for where in assigned(range(24), weights).values()), EXPECTED)
        self.assertAlmostEqual(score(7, "taba_server.h1.8300", 1.0), SCORE, 12)


EXPECTED = "112313112222223133312322"
SCORE = 3.4622169120211064
