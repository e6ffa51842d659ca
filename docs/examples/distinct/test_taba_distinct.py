"""The tests of the Type `Distinct`: `python -m unittest` in this package's folder."""

from __future__ import annotations

import json
import unittest

from taba_distinct import HASHES, Distinct, hash_of

from taba.errors import CodecError
from taba.interfaces import Style
from taba.testing.handlers import check_laws, raw_partial

NOW = 1_700_000_000.0


def events(*values: object) -> list[tuple[float, int, str]]:
    """One event each second."""
    return [(NOW + i, i, json.dumps(value)) for i, value in enumerate(values)]


class DistinctTests(unittest.TestCase):
    """How many different values."""

    def setUp(self) -> None:
        self.handler = Distinct()

    def state(self, *values: object) -> bytes:
        """Of one client that sent these values."""
        return self.handler.fold(b"", [raw_partial(events(*values))])

    def shown(self, *states: bytes) -> int:
        """The number that a tab with these States shows."""
        shown = json.loads(self.handler.render(self.handler.reduce(states), NOW, Style.JSON))
        return int(shown["distinct"])

    def test_laws(self) -> None:
        """What exactly once rests on."""
        values = ["ann", "bob", "ann", 7, 7.0, None, True, {"a": 1, "b": 2}, {"b": 2, "a": 1}, ["ann"], "é"]
        check_laws(self.handler, [events(*values), events("bob", "cec"), []])

    def test_laws_beyond_the_bound(self) -> None:
        """The same when not all hashes are kept."""
        many = [events(*range(start, start + 2 * HASHES)) for start in (0, HASHES)]
        check_laws(self.handler, many, tries=2)

    def test_exact_while_few(self) -> None:
        """Values that come again do not count, whoever sends them."""
        self.assertEqual(self.shown(), 0)
        self.assertEqual(self.shown(self.state("ann", "bob", "ann"), self.state("bob", "cec")), 3)
        self.assertEqual(self.shown(self.state(*range(HASHES - 1))), HASHES - 1)
        self.assertEqual(self.shown(self.state({"a": 1, "b": 2}, {"b": 2, "a": 1}, 1, "1", None)), 4)

    def test_near_when_many(self) -> None:
        """Within four standard errors of the truth; the hash does not change, so neither does the result."""
        for number in (5_000, 20_000):
            self.assertAlmostEqual(self.shown(self.state(*range(number))) / number, 1.0, delta=4 * 0.022)

    def test_states_of_version_1(self) -> None:
        """What version 1 wrote is understood, and joined with what is new."""
        old = self.state("ann")[:1] + b"\1" + self.state("ann")[2:14]
        old += b"".join(each.to_bytes(8, "little") for each in sorted(map(hash_of, ("ann", "bob"))))
        self.assertEqual(self.shown(old, self.state("bob", "cec")), 3)
        self.assertEqual(self.handler.held(self.handler.upgrade(old)).value.k, 1024)

    def test_other_bytes(self) -> None:
        """Damage is told as such."""
        state = self.state("ann", "bob")
        for other in (state[:-1], state + b"\0", state[:14] + b"\0\0" + state[16:], state + state[-8:]):
            self.assertRaises(CodecError, self.handler.upgrade if other[1] != 2 else self.handler.held, other)


if __name__ == "__main__":
    unittest.main()
