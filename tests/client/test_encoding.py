"""Events as lines and bodies of protocol 1."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.client.encoding import (
    CHUNK_EVENTS,
    MAX_PAYLOAD_BYTES,
    Block,
    UnusableValue,
    encode_body,
    encode_numbers,
    encode_payload,
    encode_payloads,
)
from tests.client.model_agent import Event, read_body

TIMES = st.floats(0, 4e9, allow_nan=False).map(lambda t: round(t, 6))
NUMBERS = st.integers(-(10**300), 10**300) | st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def read(blocks: list[Block]) -> list[Event]:
    return read_body(encode_body("c", blocks))


class BodyTests(SynchronousTestCase):
    def test_to_the_character(self) -> None:
        """A body looks as the protocol's reference page has it."""
        counters, _ = encode_numbers("moving", "CounterGroup", [1400000000.12, 100, 1400000000.25, 2.5])
        gauges = encode_payloads("gauge", "Gauge", [1400000000.13, encode_payload("value")])
        self.assertEqual(
            encode_body("example_client", counters + gauges),
            b"1\n\nexample_client\n\n"
            b'moving\n["CounterGroup", 1400000000.120000, "100"]\n["CounterGroup", 1400000000.250000, "2.5"]\n\n'
            b'gauge\n["Gauge", 1400000000.130000, "\\"value\\""]\n\n'
            b"\n",
        )

    def test_one_block_for_a_tab(self) -> None:
        """What was recorded of a tab in several flush periods stands together; another Type of it stands apart."""
        blocks = [
            Block("t", "Gauge", 1, b'["Gauge", 1, "1"]\n'),
            Block("u", "Gauge", 1, b'["Gauge", 2, "2"]\n'),
            Block("t", "Gauge", 1, b'["Gauge", 3, "3"]\n'),
            Block("t", "Buffer", 1, b'["Buffer", 4, "4"]\n'),
        ]
        self.assertEqual([(e.tab, e.type, e.time) for e in read(blocks)], [
            ("t", "Gauge", 1), ("t", "Gauge", 3), ("u", "Gauge", 2), ("t", "Buffer", 4)])  # fmt: skip
        self.assertEqual(encode_body("c", blocks).count(b"\nt\n"), 2)

    def test_no_events(self) -> None:
        """A body without events is still one that the protocol allows."""
        self.assertEqual(encode_body("c", []), b"1\n\nc\n\n\n")


class NumberTests(SynchronousTestCase):
    @given(st.lists(st.tuples(TIMES, NUMBERS), max_size=40))
    def test_round_trip(self, events: list[tuple[float, float]]) -> None:
        """Every finite number arrives as it is, with its time to the microsecond."""
        blocks, left_out = encode_numbers("t", "CounterGroup", [part for event in events for part in event])
        self.assertEqual([(e.time, e.payload) for e in read(blocks)], events)
        self.assertEqual(left_out, 0)

    def test_not_finite(self) -> None:
        """NaN, infinities and integers beyond a double are left out and counted; those beside them travel."""
        log = [1.0, math.nan, 2.0, 7, 3.0, math.inf, 4.0, -math.inf, 5.0, 10**400, 6.0, -8.5, 7.0, 10**5000]
        blocks, left_out = encode_numbers("t", "CounterGroup", log)
        self.assertEqual([e.payload for e in read(blocks)], [7, -8.5])
        self.assertEqual(left_out, 5)

    def test_only_unusable(self) -> None:
        """Where nothing is left, there is no block."""
        self.assertEqual(encode_numbers("t", "CounterGroup", [1.0, math.nan]), ([], 1))

    def test_sum_beyond_a_double(self) -> None:
        """Finite numbers whose sum is not finite are all sent."""
        blocks, left_out = encode_numbers("t", "CounterGroup", [1.0, 1.7e308, 2.0, 1.7e308])
        self.assertEqual(([e.payload for e in read(blocks)], left_out), ([1.7e308, 1.7e308], 0))

    def test_chunks(self) -> None:
        """Many events of a tab make several Blocks, so that a batch can be cut between them."""
        blocks, _ = encode_numbers("t", "CounterGroup", [1.0, 1] * (2 * CHUNK_EVENTS + 1))
        self.assertEqual([block.events for block in blocks], [CHUNK_EVENTS, CHUNK_EVENTS, 1])


class PayloadTests(SynchronousTestCase):
    @given(JSON_VALUES)
    def test_round_trip(self, value: object) -> None:
        """Whatever JSON can hold arrives as it is, in ASCII."""
        payload = encode_payload(value)
        self.assertTrue(payload.isascii())
        self.assertEqual(json.loads(json.loads(payload)), value)

    def test_unusable(self) -> None:
        """What JSON cannot hold is refused with the one exception."""
        circle: list[object] = []
        circle.append(circle)
        deep: list[object] = []
        for _ in range(100_000):
            deep = [deep]
        for value in (math.nan, math.inf, [math.nan], object(), {1, 2}, b"bytes", {(1, 2): 3}, circle, deep):
            with self.assertRaises(UnusableValue):
                encode_payload(value)

    def test_foreign_numbers(self) -> None:
        """Numbers of other libraries travel as what they are worth."""
        self.assertEqual([encode_payload(v) for v in (Decimal("1.5"), Fraction(1, 4))], [b'"1.5"', b'"0.25"'])

    def test_longest(self) -> None:
        """A payload may be as long as an agent takes, and no longer."""
        longest = MAX_PAYLOAD_BYTES - 2  # the quotation marks
        self.assertEqual(len(encode_payload("x" * longest)), MAX_PAYLOAD_BYTES + 4)
        with self.assertRaises(UnusableValue):
            encode_payload("x" * (longest + 1))

    def test_chunks(self) -> None:
        """A long payload has a Block of its own, short ones share one up to the most events of a Block."""
        short, long = encode_payload(1), encode_payload("x" * 300_000)
        log = [part for payload in [short] * (CHUNK_EVENTS + 1) + [long, long, short] for part in (1.0, payload)]
        blocks = encode_payloads("t", "Gauge", log)
        self.assertEqual([block.events for block in blocks], [CHUNK_EVENTS, 1, 1, 1, 1])
        self.assertEqual(len(read(blocks)), CHUNK_EVENTS + 4)
