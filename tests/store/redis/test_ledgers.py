"""The ledger of all vbuckets, summed again and again."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.store.redis.queries import OWN, _Ledgers

LINES = st.dictionaries(st.sampled_from(("folded", "refused.future", *OWN[:1])), st.integers(0, 9), max_size=3)
FOUND = st.dictionaries(st.integers(0, 4), st.tuples(st.none() | LINES, st.integers(0, 3)), max_size=5)


class LedgersTests(SynchronousTestCase):
    """One store, asked several times."""

    @given(st.lists(FOUND, max_size=6))
    def test_same_as_anew(self, times: list[dict[int, tuple[dict[str, int] | None, int]]]) -> None:
        """Whatever changed meanwhile, and whichever vbuckets came or went, the sum is that of what is there now."""
        ledgers = _Ledgers()
        for seen in times:
            found = {
                v: [None if row is None else json.dumps(row).encode(), b"%d" % own if own else None]
                + [None] * (len(OWN) - 1)
                for v, (row, own) in seen.items()
            }
            expected: Counter[str] = Counter()
            for row, own in seen.values():
                expected.update(row or {})
                expected[OWN[0]] += own
            total = ledgers.total(found)
            self.assertLessEqual(set(OWN), set(total))
            self.assertEqual(+Counter(total), +expected)
            total["folded"] = -1  # what somebody does with an answer does not change the next
