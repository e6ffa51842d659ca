"""UniqueGroup, to the character: what is shown, what counts as one value, how wrong an estimate is."""

from __future__ import annotations

import json
import math
from random import Random

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba import native
from taba.handlers.unique_group import UniqueGroup
from taba.interfaces import Style
from taba.native import Accumulator, Limits, Scratch
from tests.handlers.making import DAY, NOW
from tests.strategies import law
from tests.twin import unique_group
from tests.twin.hll import Hll, unique_hash

ERROR = 0.0162


def partial(*events: tuple[float, str]) -> bytes:
    """The Partial of events (time, value)."""
    return unique_group.Partial.of([(time, unique_hash(value.encode())) for time, value in events]).encode()


class RenderingTests(SynchronousTestCase):
    """Windows and buckets."""

    handler = UniqueGroup()

    def shown(self, state: bytes, time: float = NOW) -> str:
        """The rendering, which is the same as text and as JSON."""
        text = self.handler.render(state, time, Style.JSON)
        self.assertEqual(text, self.handler.render(state, time, Style.TEXT))
        return text

    def test_nothing(self) -> None:
        """No events: zeros."""
        window = '{"count": 0, "unique": 0}'
        self.assertEqual(self.shown(b""), f'{{"1m": {window}, "10m": {window}, "1h": {window}, "1d": {window}}}')
        self.assertTrue(self.handler.expired(b"", NOW))

    def test_windows(self) -> None:
        """Each window has its own events, and a value counts once in it, whichever client saw it, however late."""
        mine = [partial((NOW - 3000.0, "ann")), partial((NOW, "ann"), (NOW, "bob"), (NOW - 1.0, "bob"))]
        theirs = [partial((NOW, "bob")), partial((NOW - 300.0, "cyd"), (NOW, "bob"))]
        states = [self.handler.fold(b"", each) for each in (mine, theirs[::-1])]
        shown = self.shown(self.handler.reduce(states))
        expected = '{"1m": {"count": 5, "unique": 2}, "10m": {"count": 6, "unique": 3}, "1h": {"count": 7, "unique": 3}'
        self.assertEqual(shown, expected + ', "1d": {"count": 7, "unique": 3}}')
        self.assertEqual(self.handler.newest(states[0]), NOW // 15 * 15)

    def test_detailed(self) -> None:
        """The buckets of each window, oldest first: start, events, distinct values."""
        state = self.handler.fold(b"", [partial((NOW, "ann"), (NOW, "bob"), (NOW, "bob"))])
        levels = json.loads(self.handler.render(state, NOW, Style.DETAILED))
        self.assertEqual([len(level) for level in levels], [4, 4, 4, 4])
        for level, width in zip(levels, (15, 150, 900, 21600), strict=True):
            starts = [NOW // width * width - back * width for back in (3, 2, 1, 0)]
            self.assertEqual(level, [[starts[0], 0, 0], [starts[1], 0, 0], [starts[2], 0, 0], [starts[3], 3, 2]])

    def test_expires(self) -> None:
        """A day after its newest event a State shows nothing, and may go."""
        state = self.handler.fold(b"", [partial((NOW, "ann"))])
        self.assertFalse(self.handler.expired(state, NOW + 0.7 * DAY))
        self.assertTrue(self.handler.expired(state, NOW + DAY + 1.0))

    def test_registers_that_somebody_made_up(self) -> None:
        """A State that tells of more values than events is shown, with as many as there were events."""
        buckets = {0: unique_group.Bucket(5000, Hll(registers=bytearray([42] * 4096)))}
        made_up = unique_group.State([dict(buckets) for _ in range(4)]).encode()
        self.assertEqual(json.loads(self.shown(made_up, 1.0))["1m"], {"count": 5000, "unique": 5000})


class ValueTests(SynchronousTestCase):
    """What is one value, when it comes from a client."""

    def unique(self, *payloads: str) -> int:
        """How many distinct values these payloads are."""
        scratch = Scratch(Limits(), {"UniqueGroup": native.UNIQUE_GROUP})
        lines = "".join(json.dumps(["UniqueGroup", NOW, payload]) + "\n" for payload in payloads)
        scratch.feed(f"1\n\nclient\n\ntab\n{lines}\n\n".encode())
        scratch.finish()
        self.assertEqual(scratch.summary().accepted, len(payloads))
        accumulator = Accumulator()
        accumulator.merge(scratch, 1)
        [section] = accumulator.encode(1)
        [entry] = native.batch_entries(section.data)
        state = UniqueGroup().fold(b"", [entry.partial])
        return int(json.loads(UniqueGroup().render(state, NOW, Style.JSON))["1m"]["unique"])

    def test_text_is_what_counts(self) -> None:
        """A number is the text that it was sent as, a string is its characters, however they were escaped."""
        self.assertEqual(self.unique('"ann"', ' "ann" ', r'"\u0061nn"'), 1)
        self.assertEqual(self.unique("3", '"3"', " 3 "), 1)
        self.assertEqual(self.unique("3", "3.0", "3e0", '"03"'), 4)
        self.assertEqual(self.unique('""', '" "', '"ann"', '"Ann"', '"ann "'), 5)


class ErrorTests(SynchronousTestCase):
    """How wrong an estimate is."""

    @law(st.integers(0, 2**32), st.integers(1, 20), examples=15)
    def test_within_five_sigma(self, seed: int, octave: int) -> None:
        """From one value to some 60,000, over all clients: exact up to 32, else within five standard errors."""
        chance = Random(seed)
        n = min(60_000, round(2.0 ** (octave * chance.uniform(0.8, 1.0))))
        states = []
        for at in range(0, n, 7_000):
            events = [(NOW, hash_at) for hash_at in (chance.getrandbits(53) for _ in range(min(7_000, n - at)))]
            states.append(native.fold(native.UNIQUE_GROUP, b"", [unique_group.Partial.of(events).encode()]))
        state = native.reduce(native.UNIQUE_GROUP, [*states, *states[:1]])
        for window in native.unique_group_summary(state, NOW):
            self.assertLessEqual(abs(window.unique - n), 0 if n <= 32 else 5 * ERROR * n)

    def test_error_of_the_page(self) -> None:
        """The standard error that is stated is that of 4096 registers."""
        self.assertAlmostEqual(math.sqrt(3 * math.log(2) - 1) / math.sqrt(4096), ERROR, 4)
