"""The names of the keys."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.store.redis.keys import Keys
from tests.strategies import law

LETTERS = "OLMDEQTANC"


class KeyTests(SynchronousTestCase):
    """Keys under a prefix."""

    def test_keys(self) -> None:
        """Every key begins with the prefix."""
        keys = Keys("mine/")
        self.assertEqual(keys.of("Q", 12), b"mine/Q:12")
        self.assertEqual(keys.states(3, "täb:1"), "mine/H:3:täb:1".encode())
        self.assertEqual(keys.meta, b"mine/meta")
        self.assertEqual(keys.aside, (b"mine/X", b"mine/XM"))

    @law(
        st.tuples(st.integers(0, 11), st.text("0123456789:abHOL ", max_size=6)),
        st.tuples(st.integers(0, 11), st.text("0123456789:abHOL ", max_size=6)),
    )
    def test_no_two_are_the_same(self, one: tuple[int, str], other: tuple[int, str]) -> None:
        """No tab, whatever its name, has the key of another one, or of anything else."""
        keys = Keys("p")
        self.assertEqual(keys.states(*one) == keys.states(*other), one == other)
        others = {keys.of(letter, v) for letter in LETTERS for v in range(12)} | {keys.meta, *keys.aside}
        self.assertEqual(len(others), 12 * len(LETTERS) + 3)
        self.assertNotIn(keys.states(*one), others)
